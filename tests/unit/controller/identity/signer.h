// Keys of a test's issuer, and tokens that they sign.

#ifndef POSTERN_TESTS_UNIT_CONTROLLER_IDENTITY_SIGNER_H_
#define POSTERN_TESTS_UNIT_CONTROLLER_IDENTITY_SIGNER_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace postern::controller {

class Signer {
 public:
  static Signer Rsa(const std::string& id, size_t bits = 2048);
  // 256, 384 or 521 bits.
  static Signer Ec(const std::string& id, size_t bits = 256);
  // Signs with HMAC, as somebody does who knows `secret`.
  static Signer Secret(const std::string& id, const std::string& secret);

  // With its name.
  nlohmann::json PublicKey() const;
  // The header has the algorithm and the key's name, and what `header` has besides
  // or instead; null takes a member out.
  std::string Sign(const std::string& algorithm, const std::string& payload,
                   const nlohmann::json& header = nlohmann::json::object()) const;

 private:
  struct Key;
  explicit Signer(std::shared_ptr<const Key> key) : key_(std::move(key)) {}

  std::shared_ptr<const Key> key_;
};

// {"keys": [...]}.
std::string KeysOf(const std::vector<Signer>& signers);

// Nobody signed it.
std::string Unsigned(const nlohmann::json& header, const std::string& payload,
                     const std::string& signature = "");

}  // namespace postern::controller

#endif  // POSTERN_TESTS_UNIT_CONTROLLER_IDENTITY_SIGNER_H_

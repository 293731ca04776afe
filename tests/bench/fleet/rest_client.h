// One kept connection to the controller's REST interface.

#ifndef POSTERN_TESTS_BENCH_FLEET_REST_CLIENT_H_
#define POSTERN_TESTS_BENCH_FLEET_REST_CLIENT_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace postern::bench {

using Json = nlohmann::json;

struct RestOptions {
  uint16_t port = 0;
  // PEM.
  std::string ca = {};
  std::string token = {};
  // Where the calls come from: the controller limits their rate for each address.
  std::string source = "127.0.0.1";
};

// Used by one thread at a time.
class RestClient {
 public:
  explicit RestClient(RestOptions options);
  ~RestClient();

  // The body of the answer. Waits and tries again where the controller says that
  // the calls are too many; UNAVAILABLE with what it says for every other refusal.
  absl::StatusOr<std::string> Call(const std::string& method, const std::string& target,
                                   const Json& body = nullptr);
  absl::StatusOr<Json> CallJson(const std::string& method, const std::string& target,
                                const Json& body = nullptr);
  // Calls that had to wait.
  int waits() const { return waits_; }

 private:
  struct Connection;

  const RestOptions options_;
  std::unique_ptr<Connection> connection_;
  int waits_ = 0;
};

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_FLEET_REST_CLIENT_H_

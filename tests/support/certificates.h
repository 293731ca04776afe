// A certificate authority for one test.

#ifndef POSTERN_TESTS_SUPPORT_CERTIFICATES_H_
#define POSTERN_TESTS_SUPPORT_CERTIFICATES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace postern {

// PEM.
struct Identity {
  std::string cert;
  std::string key;
};

struct LeafOptions {
  // "URI:spiffe://...", "DNS:agent.test", "IP:127.0.0.1".
  std::vector<std::string> names;
  absl::Time from = absl::Now() - absl::Hours(1);
  absl::Time until = absl::Now() + absl::Hours(1);
};

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name);
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;
  ~TestAuthority();

  // The authority's own certificate, PEM.
  const std::string& cert() const { return cert_; }

  // A new key and a certificate for it, good for servers and clients.
  Identity Issue(const LeafOptions& options) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
  std::string cert_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_SUPPORT_CERTIFICATES_H_

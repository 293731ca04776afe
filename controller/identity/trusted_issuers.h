// The issuers whose tokens are accepted, and the thread that reads their keys, so
// that no request waits for another host.

#ifndef POSTERN_CONTROLLER_IDENTITY_TRUSTED_ISSUERS_H_
#define POSTERN_CONTROLLER_IDENTITY_TRUSTED_ISSUERS_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "controller/config/config.h"
#include "controller/identity/trusted_issuer.h"

namespace postern::controller {

class TrustedIssuers {
 public:
  // What `jwks` of an issuer names, as JSON; may block.
  using Fetch = std::function<absl::StatusOr<std::string>(const std::string& jwks)>;

  // Reads the keys from now on until it is destroyed. `clock` is borrowed. `report`
  // is called by the thread.
  TrustedIssuers(const std::vector<OidcIssuer>& issuers, const Clock& clock, const Fetch& fetch,
                 const std::function<void(const std::string&)>& report);
  ~TrustedIssuers();
  TrustedIssuers(const TrustedIssuers&) = delete;
  TrustedIssuers& operator=(const TrustedIssuers&) = delete;

  // Any thread. UNAUTHENTICATED, or UNAVAILABLE while there are no keys.
  absl::StatusOr<std::string> PrincipalOf(const std::string& token);

 private:
  TrustedIssuer* Find(const std::string& token);
  void Run();

  const Clock& clock_;
  std::vector<std::unique_ptr<TrustedIssuer>> issuers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  // Somebody wants keys earlier than was planned.
  bool wanted_ = false;
  std::thread thread_;
};

// From a file, or an https URL whose server's certificate this host trusts.
absl::StatusOr<std::string> FetchKeys(const std::string& jwks);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_IDENTITY_TRUSTED_ISSUERS_H_

// One issuer of OpenID Connect whose tokens are accepted, and its keys as they are
// at present.

#ifndef POSTERN_CONTROLLER_IDENTITY_TRUSTED_ISSUER_H_
#define POSTERN_CONTROLLER_IDENTITY_TRUSTED_ISSUER_H_

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "controller/config/config.h"
#include "controller/identity/key_set.h"

namespace postern::controller {

// What a token says of itself.
struct Claims {
  std::string issuer = {};
  std::vector<std::string> audiences = {};
  std::optional<absl::Time> expires = {};
  std::optional<absl::Time> not_before = {};
  // Of the claim that names the caller.
  std::string name = {};
};
// `json` as claims; nothing where it is no object.
std::optional<Claims> ReadClaims(const std::string& json, const std::string& name_claim);

class TrustedIssuer {
 public:
  // Clocks of different machines differ by so much.
  static constexpr absl::Duration kLeeway = absl::Seconds(60);
  // How long keys are good that cannot be read again.
  static constexpr absl::Duration kKeysLast = absl::Hours(24);

  // `fetch` gives the key set as JSON and may block. `report` is told, once for each
  // new reason, why the keys cannot be read.
  TrustedIssuer(OidcIssuer issuer, std::function<absl::StatusOr<std::string>()> fetch,
                std::function<void(const std::string&)> report);

  // Reads the keys where that is due, and gives when it is due next. One thread.
  BootTime Refresh(BootTime now);

  // Whether a token with these claims is this issuer's, for this controller.
  bool Issues(const Claims& claims) const;

  // The principal of `token`, which Issues() holds for: its name and the issuer, as
  // in "ana@login.example.org". Any thread.
  //   UNAVAILABLE  the keys have not been read, or not for long
  //   NOT_FOUND    its key is not known; the keys are read again soon
  //   UNAUTHENTICATED
  absl::StatusOr<std::string> PrincipalOf(const std::string& token, const Now& now);

  const OidcIssuer& issuer() const { return issuer_; }

 private:
  BootTime Due() const;
  absl::StatusOr<std::shared_ptr<const KeySet>> Keys(BootTime now) const;

  const OidcIssuer issuer_;
  const std::function<absl::StatusOr<std::string>()> fetch_;
  const std::function<void(const std::string&)> report_;
  mutable std::mutex mutex_;
  std::shared_ptr<const KeySet> keys_;
  BootTime read_at_;
  std::optional<BootTime> tried_at_;
  std::string problem_;
  // A token named a key that is not known.
  bool wanted_ = false;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_IDENTITY_TRUSTED_ISSUER_H_

// The certificate by which the controller knows this VM, in the state folder.

#ifndef POSTERN_AGENT_LINK_IDENTITY_FILES_H_
#define POSTERN_AGENT_LINK_IDENTITY_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern {

// PEM.
struct LinkIdentity {
  std::string certificate = {};
  std::string key = {};
  // The controller's authorities, as it told them last.
  std::string authorities = {};
  // When to ask for another certificate: two thirds of this one's life.
  absl::Time renew_at;
  // From then on the controller takes it no more.
  absl::Time end;
};

std::string IdentityPath(const std::string& state_dir);

// NOT_FOUND where the VM has not enrolled.
absl::StatusOr<LinkIdentity> LoadIdentity(const std::string& state_dir);
// All of it or nothing: one file, which its owner alone may read.
absl::Status SaveIdentity(const std::string& state_dir, const LinkIdentity& identity);

// With the times of the certificate. INVALID_ARGUMENT where it is none, or not
// the key's, and without an authority: gRPC would trust whom the host trusts.
absl::StatusOr<LinkIdentity> MakeIdentity(const std::string& certificate, const std::string& key,
                                          const std::string& authorities);

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_IDENTITY_FILES_H_

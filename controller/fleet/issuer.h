// The controller's certificates: those it serves with, and those it gives to VMs.

#ifndef POSTERN_CONTROLLER_FLEET_ISSUER_H_
#define POSTERN_CONTROLLER_FLEET_ISSUER_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/pki/authority.h"
#include "common/tls/tls_files.h"
#include "controller/domain/resource_id.h"

namespace postern::controller {

struct IssuerOptions {
  // Where ca.pem, ca.key, server.pem and server.key are, or are made.
  std::string directory;
  // An authority to use instead of one of its own.
  std::optional<TlsFiles> authority = {};
  // Of VMs' certificates.
  absl::Duration lifetime;
  // The names and addresses of this host.
  std::vector<std::string> names;
};

struct IssuedCertificate {
  std::string pem = {};
  std::string serial = {};
  absl::Time expires;
};

// After Open, any thread.
class Issuer {
 public:
  // Makes what is missing in the directory, which has to be there.
  static absl::StatusOr<std::unique_ptr<Issuer>> Open(IssuerOptions options, absl::Time now);

  // The authority, in PEM.
  const std::string& authorities() const { return authorities_; }
  // What the controller serves with; `ca` is the authority.
  const TlsFiles& server_files() const { return files_; }

  // Makes the server's certificate again when a third of its life is left, or the
  // names are others. Called by one thread, once in a while.
  absl::Status RefreshServerCertificate(absl::Time now);

  // A certificate for `vm` and the key that `request` (PKCS #10, PEM) asks for.
  // INVALID_ARGUMENT for a request that is not good.
  absl::StatusOr<IssuedCertificate> Issue(const VmId& vm, const std::string& request,
                                          absl::Time now) const;

 private:
  explicit Issuer(IssuerOptions options) : options_(std::move(options)) {}

  const IssuerOptions options_;
  Authority authority_;
  std::string authorities_;
  TlsFiles files_;
};

// "spiffe://postern/vm/SUBSCRIPTION/GROUP/NAME", by which a VM's certificate names
// it; and the VM that such a URI names. Names need no escapes: CheckName.
std::string UriOf(const VmId& vm);
absl::StatusOr<VmId> VmOfUri(absl::string_view uri);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_FLEET_ISSUER_H_

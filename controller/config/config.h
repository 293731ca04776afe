// controller.yaml as plain values, with its defaults.

#ifndef POSTERN_CONTROLLER_CONFIG_CONFIG_H_
#define POSTERN_CONTROLLER_CONFIG_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/prefix.h"

namespace postern::controller {

// An address to bind and a port.
struct BindAddress {
  Address address = {};
  uint16_t port = 0;
  friend bool operator==(const BindAddress&, const BindAddress&) = default;
};

// PEM files, absolute paths.
struct CertificateFiles {
  std::string cert = {};
  std::string key = {};
  friend bool operator==(const CertificateFiles&, const CertificateFiles&) = default;
};

// Whose tokens are accepted (OpenID Connect).
struct OidcIssuer {
  // "iss" of its tokens, compared as a whole.
  std::string issuer = {};
  // One of the token's "aud".
  std::string audience = {};
  // Its keys, as a JSON Web Key Set: an absolute path, or an https URL.
  std::string jwks = {};
  // The claim that names the caller.
  std::string principal_claim = "sub";
  friend bool operator==(const OidcIssuer&, const OidcIssuer&) = default;
};

struct Config {
  // Where people and scripts ask.
  BindAddress rest = {.address = {.family = Family::kIpv6}, .port = 8443};
  // How they reach it, for links in answers: "https://HOST:PORT".
  std::string public_url = {};
  // Unset: a certificate of the controller's own authority.
  std::optional<CertificateFiles> rest_certificate = {};
  // The authority of clients that come with a certificate; empty: none do.
  std::string rest_client_ca = {};

  // Where agents attach.
  BindAddress agents = {.address = {.family = Family::kIpv6}, .port = 7444};
  absl::Duration agent_certificate_lifetime = absl::Hours(30 * 24);

  // The names and addresses of this host, for its own certificates.
  std::vector<std::string> names = {};
  // An authority to issue certificates from instead of the controller's own.
  std::optional<CertificateFiles> authority = {};

  std::string state_dir = "/var/lib/postern-controller";
  // For libpq; empty: a file in state_dir.
  std::string postgres = {};
  std::vector<OidcIssuer> oidc = {};
  // How long the audit is kept; unset: for ever.
  std::optional<absl::Duration> audit_keep = {};

  friend bool operator==(const Config&, const Config&) = default;
};

// Reads `path` and `path`.d/*.yaml (common/config/load.h). INVALID_ARGUMENT with
// "FILE:LINE:COLUMN: what and how to mend it"; NOT_FOUND when `path` does not
// exist.
absl::StatusOr<Config> LoadConfig(const std::string& path);

// The same for text; `name` stands in for its path in messages, relative paths are
// relative to `directory`.
absl::StatusOr<Config> ParseConfig(const std::string& text, const std::string& name,
                                   const std::string& directory);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_CONFIG_CONFIG_H_

// agent.yaml as plain values, with its defaults.

#ifndef POSTERN_AGENT_CONFIG_CONFIG_H_
#define POSTERN_AGENT_CONFIG_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/grants/limits.h"
#include "common/prefix.h"
#include "common/tls/tls_files.h"

namespace postern {

enum class Mode : uint8_t { kEnforce, kObserve };

// What a peer may do. Each role may do what the ones before it may.
enum class Role : uint8_t { kViewer, kOperator, kController };

// How the names begin under which grants are made that a controller wants. No peer
// has such a name: its grants would be taken for a controller's, and ended.
inline constexpr char kControllerActors[] = "controller:";

// Who a certificate's subject alternative name stands for.
struct PeerRule {
  // A URI ("spiffe://...") or a DNS name, compared as a whole.
  std::string san;
  Role role = Role::kViewer;
  friend bool operator==(const PeerRule&, const PeerRule&) = default;
};

struct ListenConfig {
  // The address to bind, without brackets.
  Address address;
  uint16_t port = 0;
  // Who may reach the port.
  std::vector<Prefix> from;
  TlsFiles tls;
  std::vector<PeerRule> peers;
  friend bool operator==(const ListenConfig&, const ListenConfig&) = default;
};

struct ControllerConfig {
  std::string address;
  std::string ca;
  // The file with the token to enrol with; empty where there is none.
  std::string join_token_file = {};
  friend bool operator==(const ControllerConfig&, const ControllerConfig&) = default;
};

struct Config {
  Mode mode = Mode::kEnforce;
  std::vector<std::string> trusted_interfaces = {"lo"};
  std::vector<Prefix> always_allow;
  // guard.ports is limits.guarded_ports; on_expiry is limits.on_expiry.
  Limits limits;
  std::string state_dir = "/var/lib/postern";
  std::string socket = "/run/postern/agent.sock";
  // Where metrics are told; empty: nowhere.
  std::string metrics_socket;
  std::optional<ListenConfig> listen;
  std::optional<ControllerConfig> controller;

  friend bool operator==(const Config&, const Config&) = default;
};

// Reads `path` and then, in the order of their names, the files
// `path`.d/*.yaml; a key in a later file replaces the same key of an earlier
// one, and lists are replaced whole. Relative paths are relative to the file
// they stand in; those of certificates and keys name a credential first, where
// the service manager gave one (tls/agent.key is $CREDENTIALS_DIRECTORY/
// tls_agent.key, systemd.exec(5)). The certificate files that are named must be
// readable and fit together. The error is INVALID_ARGUMENT with "FILE:LINE:COLUMN: what and how
// to mend it", or "FILE: ..." where it is about a whole file; NOT_FOUND when
// `path` does not exist.
absl::StatusOr<Config> LoadConfig(const std::string& path);

// The same without a look at the certificate files: for a gate that stands
// before anybody is served, whatever becomes of those.
absl::StatusOr<Config> LoadConfigWithoutCertificates(const std::string& path);

// The same for text that has no file; `name` stands in for its path in messages
// and relative paths are relative to `directory`. Reads no file at all, so the
// certificate files that are named are not looked at.
absl::StatusOr<Config> ParseConfig(const std::string& text, const std::string& name,
                                   const std::string& directory);

}  // namespace postern

#endif  // POSTERN_AGENT_CONFIG_CONFIG_H_

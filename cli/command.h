// What a command line asks for, as values: parsed and checked, nothing done.

#ifndef POSTERN_CLI_COMMAND_H_
#define POSTERN_CLI_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "cli/controller/commands.h"
#include "cli/forms.h"
#include "common/prefix.h"
#include "postern/v1/grant.pb.h"

namespace postern {

enum class Format { kTable, kJson, kYaml, kCsv };

// Where the agent is.
struct LocalAgent {
  std::string socket;
};
struct RemoteAgent {
  HostPort address;
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
};
using AgentPlace = std::variant<LocalAgent, RemoteAgent>;

struct StatusCommand {};

struct GrantCommand {
  std::string id;
  // Empty: the caller's own address.
  std::vector<Prefix> from;
  std::vector<v1::Port> ports;
  absl::Duration duration;
  std::optional<absl::Time> not_after;
  std::string requestor;
  std::string justification;
  v1::OnExpiry on_expiry = v1::ON_EXPIRY_UNSPECIFIED;
};

struct GrantsCommand {
  bool include_ended = false;
};

struct ExtendCommand {
  std::string id;
  absl::Duration duration;
};

struct MoveCommand {
  std::string id;
  // As in GrantCommand.
  std::vector<Prefix> from;
};

struct RevokeCommand {
  // Empty: every live grant.
  std::string id;
  bool keep_sessions = false;
  std::string reason;
};

struct CheckCommand {
  Address from;
  v1::Port port;
};

struct WatchCommand {
  uint64_t after = 0;
};

struct AuditCommand {
  std::optional<absl::Time> since;
  // Instead: whether the controller's audit is whole.
  bool verify = false;
};

struct LockdownCommand {
  bool lift = false;
  std::string reason;
};

struct DoctorCommand {};

struct DeniedCommand {};

struct SelfCommand {};

struct ArmCommand {
  absl::Duration confirm_within;
};

struct ConfirmCommand {};

struct DisarmCommand {};

struct PkiInitCommand {
  std::string directory;
};

enum class CertificateKind { kAgent, kController, kViewer, kOperator };

struct PkiIssueCommand {
  std::string directory;
  CertificateKind kind = CertificateKind::kViewer;
  std::string name;
  // IP addresses and DNS names.
  std::vector<std::string> addresses;
  int days = 0;
};

using Command =
    std::variant<StatusCommand, GrantCommand, GrantsCommand, ExtendCommand, MoveCommand,
                 RevokeCommand, CheckCommand, WatchCommand, AuditCommand, DoctorCommand,
                 DeniedCommand, SelfCommand, LockdownCommand, ArmCommand, ConfirmCommand,
                 DisarmCommand, PkiInitCommand, PkiIssueCommand, ControllerCommand>;

struct Invocation {
  Format format = Format::kTable;
  // Meaningless for the pki commands, and where there is a controller.
  AgentPlace agent;
  // For what is asked of a controller.
  std::optional<ControllerPlace> controller;
  // For each call but a watch and a download, which have no end.
  absl::Duration timeout;
  Command command;
};

}  // namespace postern

#endif  // POSTERN_CLI_COMMAND_H_

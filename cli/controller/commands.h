// What a command line asks of a controller, as values.

#ifndef POSTERN_CLI_CONTROLLER_COMMANDS_H_
#define POSTERN_CLI_CONTROLLER_COMMANDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "common/prefix.h"

namespace postern {

// Where the controller is, and who asks.
struct ControllerPlace {
  // "https://HOST[:PORT]".
  std::string url;
  // Empty: the authorities that this host trusts.
  std::string ca_file;
  // Of a client with a certificate; empty for one with a token.
  std::string cert_file;
  std::string key_file;
  // The file goes before the token itself.
  std::string token_file;
  std::string token;
};

// Policies and VMs are named by their ids in Azure's form, or by the last part of
// these where that is one's alone.

struct PolicyListCommand {};
struct PolicyShowCommand {
  std::string policy;
};
struct PolicyApplyCommand {
  // "-": stdin.
  std::string file;
};
struct PolicyDeleteCommand {
  std::string policy;
};

// What somebody asks for, by `request create` and by ssh.
struct Access {
  std::string vm;
  std::vector<uint16_t> ports;
  // Unset: an hour, or what the policy allows if that is less.
  std::optional<absl::Duration> duration;
  // Empty: the caller's own address, as the controller sees it.
  std::vector<Prefix> from;
  std::string justification;
  // Empty: the one that allows the ports.
  std::string policy;
  absl::Duration patience;
};

struct PolicyEnableCommand {
  std::string vm;
};

struct RequestCreateCommand {
  Access access;
  // Until it is applied, or ends.
  bool wait = false;
};
struct RequestListCommand {
  bool include_ended = false;
};
struct RequestShowCommand {
  std::string id;
};
struct RequestEndCommand {
  std::string id;
  std::string reason;
};
struct RequestExtendCommand {
  std::string id;
  absl::Duration duration;
};
struct RequestMoveCommand {
  std::string id;
  std::vector<Prefix> from;
};
struct RequestApproveCommand {
  std::string id;
};
struct RequestDenyCommand {
  std::string id;
  std::string reason;
};

struct VmListCommand {};
struct VmShowCommand {
  std::string vm;
};
struct VmRemoveCommand {
  std::string vm;
  bool force = false;
};
struct JoinTokenCreateCommand {
  // A VM, a resource group or a subscription.
  std::string scope;
  std::string location;
  absl::Duration lifetime;
  int uses = 1;
};
struct JoinTokenListCommand {};
struct JoinTokenRevokeCommand {
  std::string id;
};

struct RoleListCommand {};
struct RoleChangeCommand {
  // Otherwise it is taken back.
  bool assign = true;
  std::string principal;
  std::string role;
  std::string scope;
};

struct TokenCreateCommand {
  std::string principal;
  absl::Duration lifetime;
};
struct TokenListCommand {};
struct TokenRevokeCommand {
  std::string id;
};

struct SshCommand {
  Access access;
  // As ssh(1) takes it.
  std::string host;
  std::vector<std::string> arguments;
};
struct SshProxyCommand {
  Access access;
  std::string host;
};

using ControllerCommand =
    std::variant<PolicyListCommand, PolicyShowCommand, PolicyApplyCommand, PolicyDeleteCommand,
                 PolicyEnableCommand, RequestCreateCommand, RequestListCommand, RequestShowCommand,
                 RequestEndCommand, RequestExtendCommand, RequestMoveCommand, RequestApproveCommand,
                 RequestDenyCommand, VmListCommand, VmShowCommand, VmRemoveCommand,
                 JoinTokenCreateCommand, JoinTokenListCommand, JoinTokenRevokeCommand,
                 RoleListCommand, RoleChangeCommand, TokenCreateCommand, TokenListCommand,
                 TokenRevokeCommand, SshCommand, SshProxyCommand>;

}  // namespace postern

#endif  // POSTERN_CLI_CONTROLLER_COMMANDS_H_

// ssh and ssh-proxy.

#include <unistd.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/controller/access.h"
#include "cli/controller/relay.h"
#include "cli/controller/verbs.h"
#include "cli/exit_code.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

// The VM behind a host as ssh knows it: by its name, or by the first label of that.
absl::StatusOr<std::string> VmOfHost(const ControllerClient& controller, const std::string& host) {
  const std::string name = host.substr(host.rfind('@') + 1);
  absl::StatusOr<std::string> vm = ResolveVm(controller, name);
  const std::string label = name.substr(0, name.find('.'));
  if (absl::IsNotFound(vm.status()) && label != name && !Address::Parse(name).ok()) {
    vm = ResolveVm(controller, label);
  }
  if (absl::IsNotFound(vm.status())) {
    return absl::NotFoundError(
        absl::StrCat(vm.status().message(), " (--vm says which VM a host of another name is)"));
  }
  return vm;
}

absl::Status HaveAccess(Access access, const std::string& host, Session& session) {
  POSTERN_ASSIGN_OR_RETURN(const ControllerClient controller, session.ConnectController());
  if (access.vm.empty()) {
    POSTERN_ASSIGN_OR_RETURN(access.vm, VmOfHost(controller, host));
  }
  return EnsureAccess(controller, access, session);
}

absl::Status ConnectAndRelay(const SshProxyCommand& command) {
  POSTERN_ASSIGN_OR_RETURN(
      const int socket, ConnectTo(command.host, command.access.ports[0], command.access.patience));
  const absl::Status status = Relay(socket, STDIN_FILENO, STDOUT_FILENO);
  close(socket);
  return status;
}

}  // namespace

int Do(const SshCommand& command, Session& session) {
  absl::Status status = HaveAccess(command.access, command.host, session);
  if (!status.ok()) return session.Fail(status);
  std::vector<std::string> arguments = {"ssh"};
  if (command.access.ports[0] != 22) {
    arguments.insert(arguments.end(), {"-p", absl::StrCat(command.access.ports[0])});
  }
  arguments.push_back(command.host);
  arguments.insert(arguments.end(), command.arguments.begin(), command.arguments.end());
  status = session.environment().become
               ? session.environment().become(arguments)
               : absl::UnimplementedError("no program can be run from here");
  return session.Fail(status);
}

int Do(const SshProxyCommand& command, Session& session) {
  absl::Status status = HaveAccess(command.access, command.host, session);
  if (status.ok()) status = ConnectAndRelay(command);
  return status.ok() ? kExitDone : session.Fail(status);
}

}  // namespace postern

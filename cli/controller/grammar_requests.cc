// The verbs that get access by a controller: request, ssh, ssh-proxy.

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/grammar.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr char kFromHelp[] =
    "Source address or prefix, repeatable. Default: your own\naddress, as the controller sees it";

struct AccessOptions {
  std::string vm;
  std::vector<std::string> ports;
  std::string length;
  std::vector<std::string> from;
  std::string justification;
  std::string policy;
  std::string patience = "60s";
};

absl::StatusOr<uint16_t> ReadPortNumber(const std::string& option, const std::string& text) {
  uint32_t number = 0;
  const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || !absl::SimpleAtoi(text, &number) || number < 1 || number > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": \"", Printable(text),
                     "\" is no port; the policy says whether it is TCP or UDP"));
  }
  return static_cast<uint16_t>(number);
}

absl::StatusOr<Access> ReadAccess(const AccessOptions& options) {
  Access access{.vm = options.vm,
                .ports = {},
                .duration = {},
                .from = {},
                .justification = options.justification,
                .policy = options.policy,
                .patience = {}};
  for (const std::string& text : options.ports) {
    POSTERN_ASSIGN_OR_RETURN(const uint16_t port, ReadPortNumber("--port", text));
    access.ports.push_back(port);
  }
  if (!options.length.empty()) {
    POSTERN_ASSIGN_OR_RETURN(access.duration, ReadLength("--for", options.length));
  }
  POSTERN_ASSIGN_OR_RETURN(access.from, ReadSources(options.from));
  POSTERN_RETURN_IF_ERROR(CheckUtf8("--justification", options.justification));
  POSTERN_ASSIGN_OR_RETURN(access.patience, ReadLength("--wait-for", options.patience));
  return access;
}

// What may be said of every access.
void AddAccessOptions(CLI::App& verb, AccessOptions& options) {
  AddValue(verb, "--for", options.length, "DURATION",
           "How long. Default: 1h, or less where the policy allows less");
  AddValues(verb, "--from", options.from, "PREFIX", kFromHelp);
  AddValue(verb, "--justification", options.justification, "TEXT",
           "Why, for the audit; some policies want it");
  AddValue(verb, "--policy", options.policy, "ID",
           "The policy to ask under, where more than one allows the port");
  AddValue(verb, "--wait-for", options.patience, "DURATION",
           "How long to wait until it is open. Default: 60s");
}

Verb AddCreate(CLI::App& request) {
  struct Options : AccessOptions {
    bool wait = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      AddVerb(request, "create", "Ask for access to a VM",
              "  posternctl request create --vm web-1 --port 22 --for 1h --wait\n"
              "  posternctl request create --vm web-1 --port 22 --port 3389 --from 203.0.113.7\n"
              "\n"
              "Asking again for the same port replaces what you had, without a gap.");
  AddValue(*verb, "--vm", options->vm, "ID", "The VM's id, or its name where no other has that")
      ->required();
  AddValues(*verb, "--port", options->ports, "PORT", "A port that a policy allows, repeatable")
      ->required();
  AddAccessOptions(*verb, *options);
  verb->add_flag("--wait", options->wait, "Until the VM has opened it (exit 0), or not (exit 1)");
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            RequestCreateCommand command{.access = {}, .wait = options->wait};
            POSTERN_ASSIGN_OR_RETURN(command.access, ReadAccess(*options));
            return ControllerCommand(command);
          }};
}

Verb AddList(CLI::App& request) {
  auto all = std::make_shared<bool>(false);
  CLI::App* verb = AddVerb(request, "list", "Live requests, the newest first",
                           "  posternctl request list\n"
                           "  posternctl request list --all -o json");
  verb->add_flag("--all", *all, "Those that have ended as well");
  return {verb, [all](const Environment&) -> absl::StatusOr<Command> {
            return ControllerCommand(RequestListCommand{.include_ended = *all});
          }};
}

struct ChangeOptions {
  std::string id;
  std::string reason;
  std::string length;
  std::vector<std::string> from;
};

using MakeChange = absl::StatusOr<ControllerCommand> (*)(const std::string& id,
                                                         const ChangeOptions&);

Verb AddChange(CLI::App& request, const std::string& name, const std::string& description,
               const std::string& options_shown, const std::shared_ptr<ChangeOptions>& options,
               MakeChange make, CLI::App** made = nullptr) {
  CLI::App* verb = AddVerb(request, name, description,
                           absl::StrCat("  posternctl request ", name,
                                        " 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11", options_shown));
  AddValue(*verb, "ID", options->id, "UUID", "The request")->required();
  if (made != nullptr) *made = verb;
  return {verb, [options, make](const Environment&) -> absl::StatusOr<Command> {
            POSTERN_ASSIGN_OR_RETURN(const std::string id, ReadId("ID", options->id));
            POSTERN_RETURN_IF_ERROR(CheckUtf8("--reason", options->reason));
            POSTERN_ASSIGN_OR_RETURN(ControllerCommand command, make(id, *options));
            return command;
          }};
}

void AddChanges(CLI::App& request, std::vector<Verb>& verbs) {
  constexpr char kReason[] = "Why, for the audit";
  const auto fresh = [] { return std::make_shared<ChangeOptions>(); };
  CLI::App* verb = nullptr;
  verbs.push_back(AddChange(
      request, "show", "One request", "", fresh(),
      [](const std::string& id, const ChangeOptions&) -> absl::StatusOr<ControllerCommand> {
        return RequestShowCommand{.id = id};
      }));
  auto options = fresh();
  verbs.push_back(AddChange(
      request, "revoke", "End a request now: its ports close", " --reason \"left early\"", options,
      [](const std::string& id, const ChangeOptions& said) -> absl::StatusOr<ControllerCommand> {
        return RequestEndCommand{.id = id, .reason = said.reason};
      },
      &verb));
  AddValue(*verb, "--reason", options->reason, "TEXT", kReason);
  options = fresh();
  verbs.push_back(AddChange(
      request, "extend", "Add to a request's end, within the policy's maximum", " --for 30m",
      options,
      [](const std::string& id, const ChangeOptions& said) -> absl::StatusOr<ControllerCommand> {
        POSTERN_ASSIGN_OR_RETURN(const absl::Duration by, ReadLength("--for", said.length));
        return RequestExtendCommand{.id = id, .duration = by};
      },
      &verb));
  AddValue(*verb, "--for", options->length, "DURATION", "How much to add")->required();
  options = fresh();
  verbs.push_back(AddChange(
      request, "move", "Give a live request other sources", " --from 203.0.113.99", options,
      [](const std::string& id, const ChangeOptions& said) -> absl::StatusOr<ControllerCommand> {
        POSTERN_ASSIGN_OR_RETURN(std::vector<Prefix> from, ReadSources(said.from));
        return RequestMoveCommand{.id = id, .from = std::move(from)};
      },
      &verb));
  AddValues(*verb, "--from", options->from, "PREFIX", kFromHelp);
  verbs.push_back(AddChange(
      request, "approve", "Agree to somebody's request", "", fresh(),
      [](const std::string& id, const ChangeOptions&) -> absl::StatusOr<ControllerCommand> {
        return RequestApproveCommand{.id = id};
      }));
  options = fresh();
  verbs.push_back(AddChange(
      request, "deny", "Refuse somebody's request", " --reason \"not today\"", options,
      [](const std::string& id, const ChangeOptions& said) -> absl::StatusOr<ControllerCommand> {
        return RequestDenyCommand{.id = id, .reason = said.reason};
      },
      &verb));
  AddValue(*verb, "--reason", options->reason, "TEXT", kReason);
}

struct HostOptions : AccessOptions {
  std::string host;
  std::string port = "22";
  std::vector<std::string> arguments;
};

// A host that would be an option of ssh's is none.
absl::StatusOr<Access> ReadHostAccess(const HostOptions& options) {
  if (options.host.empty() || absl::StartsWith(options.host, "-")) {
    return absl::InvalidArgumentError(
        absl::StrCat("HOST: \"", Printable(options.host), "\" is no host"));
  }
  POSTERN_ASSIGN_OR_RETURN(Access access, ReadAccess(options));
  POSTERN_ASSIGN_OR_RETURN(const uint16_t port, ReadPortNumber("the port", options.port));
  access.ports = {port};
  return access;
}

constexpr char kVmHelp[] = "The VM, where it is not named as the host is";

Verb AddSsh(CLI::App& app) {
  auto options = std::make_shared<HostOptions>();
  CLI::App* verb =
      AddVerb(app, "ssh", "Get access by a controller, and log in",
              "  posternctl ssh web-1\n"
              "  posternctl ssh ana@web-1.example.org --justification \"disk full\" -- uptime\n"
              "\n"
              "Asks only where you have no access yet, waits until the port is open, and\n"
              "becomes ssh(1).");
  AddValue(*verb, "HOST", options->host, "[USER@]HOST", "As for ssh")->required();
  verb->add_option("ARGUMENTS", options->arguments, "For ssh, behind --")->type_name("ARGUMENT...");
  AddValue(*verb, "--vm", options->vm, "ID", kVmHelp);
  AddValue(*verb, "--port", options->port, "PORT", "Default: 22");
  AddAccessOptions(*verb, *options);
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            SshCommand command{
                .access = {}, .host = options->host, .arguments = options->arguments};
            POSTERN_ASSIGN_OR_RETURN(command.access, ReadHostAccess(*options));
            return ControllerCommand(command);
          }};
}

Verb AddSshProxy(CLI::App& app) {
  auto options = std::make_shared<HostOptions>();
  CLI::App* verb = AddVerb(app, "ssh-proxy", "Get access by a controller, and be ssh's connection",
                           "In ~/.ssh/config, with POSTERN_CONTROLLER and POSTERN_TOKEN_FILE set:\n"
                           "  Host web-*\n"
                           "    ProxyCommand posternctl ssh-proxy %h %p");
  AddValue(*verb, "HOST", options->host, "HOST", "Where to connect to")->required();
  AddValue(*verb, "PORT", options->port, "PORT", "Default: 22");
  AddValue(*verb, "--vm", options->vm, "ID", kVmHelp);
  AddAccessOptions(*verb, *options);
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            SshProxyCommand command{.access = {}, .host = options->host};
            POSTERN_ASSIGN_OR_RETURN(command.access, ReadHostAccess(*options));
            return ControllerCommand(command);
          }};
}

}  // namespace

void AddRequestVerbs(CLI::App& app, std::vector<Verb>& verbs) {
  CLI::App* request = AddVerb(app, "request", "Ask a controller for access, and answer requests",
                              "  posternctl request create --vm web-1 --port 22 --for 1h --wait\n"
                              "  posternctl request list\n"
                              "  posternctl request approve 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11");
  verbs.push_back(AddCreate(*request));
  verbs.push_back(AddList(*request));
  AddChanges(*request, verbs);
}

void AddSshVerbs(CLI::App& app, std::vector<Verb>& verbs) {
  verbs.push_back(AddSsh(app));
  verbs.push_back(AddSshProxy(app));
}

}  // namespace postern

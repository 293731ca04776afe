// The verbs that change who may come in: grant, extend, move, revoke.

#include <memory>

#include "absl/strings/str_cat.h"
#include "cli/grammar.h"
#include "common/status.h"
#include "common/uuid.h"

namespace postern {
namespace {

constexpr char kFromHelp[] =
    "Source address or prefix, repeatable. Default: your own address,\n"
    "as a remote agent sees it or as SSH_CONNECTION has it";
constexpr char kDurationForms[] = "90s, 15m, 3h, 1h30m or PT3H";

absl::StatusOr<v1::OnExpiry> ReadOnExpiry(const std::string& text) {
  if (text.empty()) return v1::ON_EXPIRY_UNSPECIFIED;
  if (text == "keep") return v1::KEEP;
  if (text == "cut") return v1::CUT;
  if (text == "reset") return v1::RESET;
  return absl::InvalidArgumentError("--on-expiry: write keep, cut or reset");
}

struct GrantOptions {
  std::vector<std::string> from;
  std::vector<std::string> ports;
  std::string length;
  std::string until;
  std::string justification;
  std::string requestor;
  std::string on_expiry;
  std::string id;
};

absl::StatusOr<Command> BuildGrant(const GrantOptions& options, const Environment& environment) {
  GrantCommand command;
  POSTERN_ASSIGN_OR_RETURN(command.from, ReadSources(options.from));
  for (const std::string& text : options.ports) {
    const absl::StatusOr<v1::Port> port = ParsePort(text);
    POSTERN_RETURN_IF_ERROR(About("--port", port.status()));
    command.ports.push_back(*port);
  }
  POSTERN_ASSIGN_OR_RETURN(command.duration, ReadLength("--for", options.length));
  if (!options.until.empty()) {
    const absl::StatusOr<absl::Time> until = ParseTimestamp(options.until);
    POSTERN_RETURN_IF_ERROR(About("--until", until.status()));
    command.not_after = *until;
  }
  POSTERN_ASSIGN_OR_RETURN(command.on_expiry, ReadOnExpiry(options.on_expiry));
  if (options.id.empty()) {
    command.id = NewUuid();
  } else {
    POSTERN_ASSIGN_OR_RETURN(command.id, ReadId("--id", options.id));
  }
  POSTERN_RETURN_IF_ERROR(CheckUtf8("--justification", options.justification));
  command.justification = options.justification;
  command.requestor = options.requestor;
  if (command.requestor.empty()) command.requestor = environment.Get("SUDO_USER");
  if (command.requestor.empty()) command.requestor = environment.user;
  POSTERN_RETURN_IF_ERROR(CheckUtf8("--requestor", command.requestor));
  return command;
}

Verb AddGrant(CLI::App& app) {
  auto options = std::make_shared<GrantOptions>();
  CLI::App* verb = AddVerb(
      app, "grant", "Open ports to a source for a time",
      "  posternctl grant --from 203.0.113.7 --port 22 --for 1h --justification \"deploy 142\"\n"
      "  posternctl grant --from 198.51.100.0/24 --port 3389/any --for 90m --on-expiry cut\n"
      "  posternctl grant --port 22 --for 30m        (opens it to the address you come from)");
  AddValues(*verb, "--from", options->from, "PREFIX", kFromHelp);
  AddValues(*verb, "--port", options->ports, "PORT",
            "Guarded port, repeatable: 22 (TCP), 22/udp, 3389/any")
      ->required();
  AddValue(*verb, "--for", options->length, "DURATION", absl::StrCat("How long: ", kDurationForms))
      ->required();
  AddValue(*verb, "--until", options->until, "TIME",
           "At the latest until this RFC 3339 time; the earlier end wins");
  AddValue(*verb, "--justification", options->justification, "TEXT",
           "Why, for the audit; at most 4096 bytes");
  AddValue(*verb, "--requestor", options->requestor, "NAME",
           "For whom, for the audit. Default: SUDO_USER, else your user name");
  AddValue(*verb, "--on-expiry", options->on_expiry, "keep|cut|reset",
           "Live sessions at the end: keep them, cut them off, or cut and\n"
           "reset them. Default: the agent's");
  AddValue(*verb, "--id", options->id, "UUID",
           "The grant's id; repeating one is safe. Default: a new one");
  return {verb,
          [options](const Environment& environment) { return BuildGrant(*options, environment); }};
}

Verb AddExtend(CLI::App& app) {
  struct Options {
    std::string id;
    std::string length;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb = AddVerb(app, "extend", "Add to the end of a live grant",
                           "  posternctl extend 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11 --for 30m");
  AddValue(*verb, "ID", options->id, "UUID", "The grant")->required();
  AddValue(*verb, "--for", options->length, "DURATION",
           absl::StrCat("How much to add to the present end: ", kDurationForms))
      ->required();
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            ExtendCommand command;
            POSTERN_ASSIGN_OR_RETURN(command.id, ReadId("ID", options->id));
            POSTERN_ASSIGN_OR_RETURN(command.duration, ReadLength("--for", options->length));
            return command;
          }};
}

Verb AddMove(CLI::App& app) {
  struct Options {
    std::string id;
    std::vector<std::string> from;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      AddVerb(app, "move", "Give a live grant other sources",
              "  posternctl move 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11 --from 203.0.113.99");
  AddValue(*verb, "ID", options->id, "UUID", "The grant; its id, ports and end stay")->required();
  AddValues(*verb, "--from", options->from, "PREFIX", kFromHelp);
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            MoveCommand command;
            POSTERN_ASSIGN_OR_RETURN(command.id, ReadId("ID", options->id));
            POSTERN_ASSIGN_OR_RETURN(command.from, ReadSources(options->from));
            return command;
          }};
}

Verb AddRevoke(CLI::App& app) {
  struct Options {
    std::string id;
    bool all = false;
    bool keep_sessions = false;
    std::string reason;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      AddVerb(app, "revoke", "End a grant, or all of them, now",
              "  posternctl revoke 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11 --reason \"left early\"\n"
              "  posternctl revoke --all");
  AddValue(*verb, "ID", options->id, "UUID", "The grant");
  verb->add_flag("--all", options->all, "Every live grant");
  verb->add_flag("--keep-sessions", options->keep_sessions,
                 "Spare the sessions that the grant admitted");
  AddValue(*verb, "--reason", options->reason, "TEXT", "Why, for the audit; at most 4096 bytes");
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            if (options->id.empty() != options->all) {
              return absl::InvalidArgumentError("revoke takes either the ID of a grant or --all");
            }
            RevokeCommand command;
            if (!options->all) {
              POSTERN_ASSIGN_OR_RETURN(command.id, ReadId("ID", options->id));
            }
            command.keep_sessions = options->keep_sessions;
            POSTERN_RETURN_IF_ERROR(CheckUtf8("--reason", options->reason));
            command.reason = options->reason;
            return command;
          }};
}

}  // namespace

void AddAccessVerbs(CLI::App& app, std::vector<Verb>& verbs) {
  verbs.push_back(AddGrant(app));
  verbs.push_back(AddExtend(app));
  verbs.push_back(AddMove(app));
  verbs.push_back(AddRevoke(app));
}

}  // namespace postern

// The verbs that only look: status, grants, check, watch, audit, doctor, denied,
// self.

#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/grammar.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

Verb AddStatus(CLI::App& app) {
  CLI::App* verb = AddVerb(app, "status", "What is guarded, what is open, and until when",
                           "  posternctl status\n"
                           "  posternctl status -o json --address 192.0.2.10:7443 --ca ca.pem "
                           "--cert me.pem --key me.key");
  return {verb, [](const Environment&) -> absl::StatusOr<Command> { return StatusCommand{}; }};
}

Verb AddGrants(CLI::App& app) {
  auto all = std::make_shared<bool>(false);
  CLI::App* verb = AddVerb(app, "grants", "List the live grants",
                           "  posternctl grants\n"
                           "  posternctl grants --all -o json");
  verb->add_flag("--all", *all, "Those that have ended as well");
  return {verb, [all](const Environment&) -> absl::StatusOr<Command> {
            return GrantsCommand{.include_ended = *all};
          }};
}

Verb AddCheck(CLI::App& app) {
  struct Options {
    std::string from;
    std::string port;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      AddVerb(app, "check", "Would a new connection pass, and by which grant? (exit 0 or 1)",
              "  posternctl check --from 203.0.113.7 --port 22");
  AddValue(*verb, "--from", options->from, "ADDRESS", "Where the connection would come from")
      ->required();
  AddValue(*verb, "--port", options->port, "PORT", "Where it would go: 22 (TCP), 22/udp, 22/any")
      ->required();
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            CheckCommand command;
            const absl::StatusOr<Address> from = Address::Parse(options->from);
            POSTERN_RETURN_IF_ERROR(About("--from", from.status()));
            command.from = *from;
            const absl::StatusOr<v1::Port> port = ParsePort(options->port);
            POSTERN_RETURN_IF_ERROR(About("--port", port.status()));
            command.port = *port;
            return command;
          }};
}

Verb AddWatch(CLI::App& app) {
  auto after = std::make_shared<std::string>("0");
  CLI::App* verb =
      AddVerb(app, "watch", "Show events as they happen, until interrupted",
              "  posternctl watch\n"
              "  posternctl watch --after 1200 -o json      (one JSON document to a line)");
  AddValue(*verb, "--after", *after, "NUMBER",
           "Begin with the events after this number. Default: only new ones");
  return {verb, [after](const Environment&) -> absl::StatusOr<Command> {
            WatchCommand command;
            const bool digits = after->find_first_not_of("0123456789") == std::string::npos;
            if (!digits || !absl::SimpleAtoi(*after, &command.after)) {
              return absl::InvalidArgumentError(absl::StrCat("--after: \"", Printable(*after),
                                                             "\" is not the number of an event"));
            }
            return command;
          }};
}

Verb AddAudit(CLI::App& app, std::string& format) {
  struct Options {
    std::string since;
    std::string action;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      AddVerb(app, "audit", "List what happened, oldest first: on an agent, or on a controller",
              "  posternctl audit --since 7d\n"
              "  posternctl audit verify                    (a controller's: is it whole?)\n"
              "  posternctl audit --since 2024-05-01T00:00:00Z --format csv >audit.csv\n"
              "\n"
              "CSV follows RFC 4180, with a header and times in UTC. A field that begins with\n"
              "= + - @ or a tab gets an apostrophe before it, so that no spreadsheet takes it\n"
              "for a formula; control characters are written as \\xNN.");
  AddValue(*verb, "ACTION", options->action, "verify",
           "Instead: whether a row of the controller's audit was changed or is missing");
  AddValue(*verb, "--since", options->since, "WHEN",
           "Duration back from now (7d) or RFC 3339 time. Default: the beginning");
  AddValue(*verb, "--format", format, "csv|json|table", "How to print, in place of -o");
  return {verb, [options](const Environment& environment) -> absl::StatusOr<Command> {
            AuditCommand command{.since = {}, .verify = !options->action.empty()};
            if (command.verify && options->action != "verify") {
              return absl::InvalidArgumentError("audit: write verify, or nothing");
            }
            if (!options->since.empty()) {
              const absl::StatusOr<absl::Time> time = ParseSince(options->since, environment.now());
              POSTERN_RETURN_IF_ERROR(About("--since", time.status()));
              command.since = *time;
            }
            return command;
          }};
}

Verb AddDoctor(CLI::App& app) {
  CLI::App* verb = AddVerb(
      app, "doctor", "What on the host would make grants void or the gate pointless? (exit 0 or 1)",
      "  posternctl doctor\n"
      "  posternctl doctor -o json\n"
      "\n"
      "Looks at other firewalls and container engines, at who serves the guarded ports,\n"
      "and at the kernel's settings. Exit 0 when nothing worse than a notice was found.");
  return {verb, [](const Environment&) -> absl::StatusOr<Command> { return DoctorCommand{}; }};
}

Verb AddDenied(CLI::App& app) {
  CLI::App* verb =
      AddVerb(app, "denied", "Who knocked without a grant: on what, how often, when",
              "  posternctl denied\n"
              "  posternctl denied -o json\n"
              "\n"
              "The kernel remembers a source for an hour after its last packet, and of a\n"
              "flood from many sources only some. Where the gate only observes, these\n"
              "were let through.");
  return {verb, [](const Environment&) -> absl::StatusOr<Command> { return DeniedCommand{}; }};
}

Verb AddSelf(CLI::App& app) {
  CLI::App* verb =
      AddVerb(app, "self", "On the VM itself: why can I not get in, and what would let me?",
              "  posternctl self\n"
              "  posternctl self -o json\n"
              "\n"
              "For somebody at the console. Exit 1 when the agent does not answer; what to do\n"
              "then is told all the same.");
  return {verb, [](const Environment&) -> absl::StatusOr<Command> { return SelfCommand{}; }};
}

}  // namespace

void AddReadingVerbs(CLI::App& app, std::string& audit_format, std::vector<Verb>& verbs) {
  verbs.push_back(AddStatus(app));
  verbs.push_back(AddGrants(app));
  verbs.push_back(AddCheck(app));
  verbs.push_back(AddWatch(app));
  verbs.push_back(AddAudit(app, audit_format));
  verbs.push_back(AddDoctor(app));
  verbs.push_back(AddDenied(app));
  verbs.push_back(AddSelf(app));
}

}  // namespace postern

#include "cli/command_line.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "cli/exit_code.h"
#include "cli/grammar.h"
#include "common/duration.h"
#include "common/https/https.h"
#include "common/status.h"
#include "common/text.h"
#include "common/version.h"

namespace postern {
namespace {

constexpr char kDefaultSocket[] = "/run/postern/agent.sock";
// The longest path of a unix socket (unix(7)), without its ending zero.
constexpr size_t kMaxSocketPath = 107;

constexpr char kFooter[] =
    "Examples:\n"
    "  posternctl status\n"
    "  posternctl grant --from 203.0.113.7 --port 22 --for 1h --justification \"deploy 142\"\n"
    "  posternctl grants -o json\n"
    "  posternctl revoke --all\n"
    "  posternctl request create --vm web-1 --port 22 --for 1h --wait   (of a controller)\n"
    "  posternctl ssh web-1\n"
    "\n"
    "Durations are written 90s, 15m, 3h, 1h30m, 7d or PT3H; times as RFC 3339.\n"
    "Data goes to stdout, messages to stderr. Exit: 0 done, 1 refused or failed,\n"
    "2 wrong on its face, 3 not found.";

struct GlobalOptions {
  std::string output;
  std::string audit_format;
  std::string socket;
  std::string address;
  std::string ca;
  std::string cert;
  std::string key;
  std::string controller;
  std::string token_file;
  std::string timeout = "15s";
};

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  AddValue(app, "-o,--output", options.output, "table|json|yaml", "How to print. Default: table");
  AddValue(app, "--timeout", options.timeout, "DURATION", "For each call. Default: 15s");
  constexpr char kWhere[] = "Which agent";
  AddValue(app, "--socket", options.socket, "PATH",
           absl::StrCat("A local agent's socket (or POSTERN_SOCKET). Default: ", kDefaultSocket))
      ->group(kWhere);
  AddValue(app, "--address", options.address, "HOST:PORT",
           "A remote agent, over TLS (or POSTERN_ADDRESS); needs the next three")
      ->group(kWhere);
  AddValue(app, "--ca", options.ca, "FILE", "The authority's certificate (or POSTERN_CA)")
      ->group(kWhere);
  AddValue(app, "--cert", options.cert, "FILE", "Your certificate (or POSTERN_CERT)")
      ->group(kWhere);
  AddValue(app, "--key", options.key, "FILE", "Your key (or POSTERN_KEY)")->group(kWhere);
  constexpr char kController[] = "Which controller";
  AddValue(app, "--controller", options.controller, "URL",
           "https://HOST:8443 (or POSTERN_CONTROLLER); --ca is its authority, where\n"
           "this host does not trust it anyway")
      ->group(kController);
  AddValue(app, "--token-file", options.token_file, "FILE",
           "Your token (or POSTERN_TOKEN_FILE, or the token itself in POSTERN_TOKEN),\n"
           "in place of --cert and --key")
      ->group(kController);
}

absl::StatusOr<Format> FormatOf(const GlobalOptions& options) {
  if (!options.output.empty() && !options.audit_format.empty()) {
    return absl::InvalidArgumentError("-o and --format say the same; give one of them");
  }
  const std::string& text = options.audit_format.empty() ? options.output : options.audit_format;
  if (text.empty() || text == "table") return Format::kTable;
  if (text == "json") return Format::kJson;
  if (text == "yaml" && options.audit_format.empty()) return Format::kYaml;
  if (text == "csv" && !options.audit_format.empty()) return Format::kCsv;
  return options.audit_format.empty()
             ? absl::InvalidArgumentError("-o: write table, json or yaml")
             : absl::InvalidArgumentError("--format: write csv, json or table");
}

absl::StatusOr<AgentPlace> LocalPlace(std::string socket) {
  if (socket.empty()) socket = kDefaultSocket;
  if (socket.size() > kMaxSocketPath) {
    return absl::InvalidArgumentError(absl::StrCat("--socket: the path has ", socket.size(),
                                                   " bytes; a socket's has at most ",
                                                   kMaxSocketPath));
  }
  return LocalAgent{.socket = std::move(socket)};
}

// What the command line says goes before what the environment says.
std::string Given(const std::string& option, const char* variable, const Environment& environment) {
  return option.empty() ? environment.Get(variable) : option;
}

absl::StatusOr<AgentPlace> PlaceOf(const GlobalOptions& options, const Environment& environment) {
  if (!options.socket.empty() && !options.address.empty()) {
    return absl::InvalidArgumentError("--socket and --address are two agents; give one of them");
  }
  std::string address = options.address;
  if (address.empty() && options.socket.empty()) {
    address = environment.Get("POSTERN_ADDRESS");
    if (!address.empty() && !environment.Get("POSTERN_SOCKET").empty()) {
      return absl::InvalidArgumentError(
          "POSTERN_ADDRESS and POSTERN_SOCKET are both set; unset one, or give --address or "
          "--socket");
    }
  }
  if (address.empty()) {
    if (!options.ca.empty() || !options.cert.empty() || !options.key.empty()) {
      return absl::InvalidArgumentError(
          "--ca, --cert and --key are for a remote agent; give its --address HOST:PORT");
    }
    return LocalPlace(options.socket.empty() ? environment.Get("POSTERN_SOCKET") : options.socket);
  }
  RemoteAgent remote;
  absl::StatusOr<HostPort> parsed = ParseHostPort(address);
  POSTERN_RETURN_IF_ERROR(About("--address", parsed.status()));
  remote.address = *std::move(parsed);
  remote.ca_file = Given(options.ca, "POSTERN_CA", environment);
  remote.cert_file = Given(options.cert, "POSTERN_CERT", environment);
  remote.key_file = Given(options.key, "POSTERN_KEY", environment);
  if (remote.ca_file.empty() || remote.cert_file.empty() || remote.key_file.empty()) {
    return absl::InvalidArgumentError(
        "a remote agent needs --ca, --cert and --key (or POSTERN_CA, POSTERN_CERT, POSTERN_KEY)");
  }
  return remote;
}

absl::StatusOr<ControllerPlace> ControllerOf(const GlobalOptions& options,
                                             const Environment& environment) {
  ControllerPlace place{.url = Given(options.controller, "POSTERN_CONTROLLER", environment),
                        .ca_file = Given(options.ca, "POSTERN_CA", environment),
                        .cert_file = Given(options.cert, "POSTERN_CERT", environment),
                        .key_file = Given(options.key, "POSTERN_KEY", environment),
                        .token_file = Given(options.token_file, "POSTERN_TOKEN_FILE", environment),
                        .token = environment.Get("POSTERN_TOKEN")};
  if (place.url.empty()) {
    return absl::InvalidArgumentError(
        "--controller is missing: give https://HOST:8443, or set POSTERN_CONTROLLER");
  }
  POSTERN_RETURN_IF_ERROR(About("--controller", CheckHttpsUrl(place.url)));
  while (absl::EndsWith(place.url, "/")) place.url.pop_back();
  if (place.cert_file.empty() != place.key_file.empty()) {
    return absl::InvalidArgumentError("--cert and --key are a pair; give both of them");
  }
  if (place.cert_file.empty() && place.token_file.empty() && place.token.empty()) {
    return absl::InvalidArgumentError(
        "who asks is missing: give --token-file (or set POSTERN_TOKEN_FILE or POSTERN_TOKEN), or "
        "--cert and --key");
  }
  return place;
}

// Whether it is a controller's audit that is meant: one that is named, where no agent
// is.
bool MeansController(const GlobalOptions& options, const Environment& environment) {
  if (!options.controller.empty()) return true;
  const bool names_agent = !options.socket.empty() || !options.address.empty() ||
                           !environment.Get("POSTERN_SOCKET").empty() ||
                           !environment.Get("POSTERN_ADDRESS").empty();
  return !names_agent && !environment.Get("POSTERN_CONTROLLER").empty();
}

absl::Status PlaceIn(Invocation& invocation, const GlobalOptions& options,
                     const Environment& environment) {
  const Command& command = invocation.command;
  if (std::holds_alternative<PkiInitCommand>(command) ||
      std::holds_alternative<PkiIssueCommand>(command)) {
    return absl::OkStatus();
  }
  const auto* audit = std::get_if<AuditCommand>(&command);
  const bool controller = audit == nullptr ? std::holds_alternative<ControllerCommand>(command)
                                           : audit->verify || MeansController(options, environment);
  if (controller) {
    POSTERN_ASSIGN_OR_RETURN(invocation.controller, ControllerOf(options, environment));
    return absl::OkStatus();
  }
  if (!options.controller.empty()) {
    return absl::InvalidArgumentError(
        "--controller is for policy, request, vm, role, token, audit and ssh; this asks an agent");
  }
  POSTERN_ASSIGN_OR_RETURN(invocation.agent, PlaceOf(options, environment));
  return absl::OkStatus();
}

absl::StatusOr<Invocation> Build(const GlobalOptions& options, const Builder& build,
                                 const Environment& environment) {
  Invocation invocation;
  POSTERN_ASSIGN_OR_RETURN(invocation.format, FormatOf(options));
  const absl::StatusOr<absl::Duration> timeout = ParseDuration(options.timeout);
  POSTERN_RETURN_IF_ERROR(About("--timeout", timeout.status()));
  if (*timeout == absl::ZeroDuration()) {
    return absl::InvalidArgumentError("--timeout: must be longer than zero");
  }
  invocation.timeout = *timeout;
  POSTERN_ASSIGN_OR_RETURN(invocation.command, build(environment));
  POSTERN_RETURN_IF_ERROR(PlaceIn(invocation, options, environment));
  return invocation;
}

Finished Mistake(absl::string_view message) {
  Finished finished;
  finished.exit_code = kExitUsage;
  finished.message = absl::StrCat("posternctl: ", message,
                                  "\n(posternctl --help and posternctl COMMAND --help show how)\n");
  return finished;
}

const auto kEveryVerb = [](const CLI::App*) { return true; };

// Whether no verb was given, or only the first half of one (pki).
bool LacksVerb(const CLI::App& app) {
  const std::vector<CLI::App*> given = app.get_subcommands();
  if (given.empty()) return true;
  return !given.front()->get_subcommands(kEveryVerb).empty() &&
         given.front()->get_subcommands().empty();
}

// Lists what may follow `app`, or the verb of verbs that was given.
Finished NoSuchCommand(const CLI::App& app) {
  const std::vector<CLI::App*> given = app.get_subcommands();
  const CLI::App& at = given.empty() ? app : *given.front();
  std::vector<std::string> names;
  for (const CLI::App* verb : at.get_subcommands(kEveryVerb)) {
    names.push_back(verb->get_name());
  }
  const std::vector<std::string> rest = app.remaining(true);
  const std::string what = rest.empty()
                               ? "a command is missing"
                               : absl::StrCat("\"", Printable(rest.front()), "\" is not a command");
  return Mistake(absl::StrCat(what, "; there are ", absl::StrJoin(names, ", ")));
}

void Style(CLI::App& app) {
  auto formatter = std::make_shared<CLI::Formatter>();
  formatter->column_width(32);
  formatter->label("REQUIRED", "(required)");
  app.formatter(formatter);
}

}  // namespace

std::variant<Invocation, Finished> ParseCommandLine(int argc, const char* const* argv,
                                                    const Environment& environment) {
  CLI::App app("posternctl: opens the guarded ports of a VM to a source for a time", "posternctl");
  // Before the verbs, which inherit it.
  Style(app);
  GlobalOptions options;
  AddGlobalOptions(app, options);
  app.set_version_flag("--version", std::string("posternctl ") + kVersion, "Print the version");
  app.set_help_flag("-h,--help", "Print this help");
  app.footer(kFooter);
  std::vector<Verb> verbs;
  AddReadingVerbs(app, options.audit_format, verbs);
  AddAccessVerbs(app, verbs);
  AddStandingVerbs(app, verbs);
  AddPkiVerbs(app, verbs);
  AddPolicyVerbs(app, verbs);
  AddRequestVerbs(app, verbs);
  AddVmVerbs(app, verbs);
  AddPrincipalVerbs(app, verbs);
  AddSshVerbs(app, verbs);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    std::ostringstream out;
    std::ostringstream err;
    app.exit(success, out, err);
    return Finished{.exit_code = kExitDone, .output = out.str(), .message = ""};
  } catch (const CLI::ExtrasError& error) {
    if (LacksVerb(app)) return NoSuchCommand(app);
    return Mistake(Printable(error.what()));
  } catch (const CLI::ParseError& error) {
    return Mistake(Printable(error.what()));
  }
  for (const Verb& verb : verbs) {
    if (!verb.app->parsed()) continue;
    absl::StatusOr<Invocation> invocation = Build(options, verb.build, environment);
    if (!invocation.ok()) return Mistake(Printable(invocation.status().message()));
    return *std::move(invocation);
  }
  return NoSuchCommand(app);
}

}  // namespace postern

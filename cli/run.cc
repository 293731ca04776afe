#include "cli/run.h"

#include <variant>

#include "cli/command_line.h"
#include "cli/exit_code.h"
#include "cli/session.h"
#include "cli/verbs.h"

namespace postern {

int Run(int argc, const char* const* argv, const Environment& environment, std::ostream& out,
        std::ostream& err) {
  const std::variant<Invocation, Finished> parsed = ParseCommandLine(argc, argv, environment);
  int exit_code = kExitDone;
  if (const auto* finished = std::get_if<Finished>(&parsed)) {
    out << finished->output;
    err << finished->message;
    exit_code = finished->exit_code;
  } else {
    const auto& invocation = std::get<Invocation>(parsed);
    Session session(environment, invocation, out, err);
    exit_code =
        std::visit([&](const auto& command) { return Do(command, session); }, invocation.command);
  }
  if (!out.flush()) {
    err << "posternctl: stdout took not all of the answer\n";
    return kExitFailed;
  }
  return exit_code;
}

}  // namespace postern

// The grammar of the command line.

#ifndef POSTERN_CLI_COMMAND_LINE_H_
#define POSTERN_CLI_COMMAND_LINE_H_

#include <string>
#include <variant>

#include "cli/command.h"
#include "cli/environment.h"

namespace postern {

// A command line that is finished once it is read: help, the version, or a
// mistake.
struct Finished {
  int exit_code = 0;
  // For stdout and stderr.
  std::string output;
  std::string message;
};

std::variant<Invocation, Finished> ParseCommandLine(int argc, const char* const* argv,
                                                    const Environment& environment);

}  // namespace postern

#endif  // POSTERN_CLI_COMMAND_LINE_H_

// One run of posternctl.

#ifndef POSTERN_CLI_RUN_H_
#define POSTERN_CLI_RUN_H_

#include <ostream>

#include "cli/environment.h"

namespace postern {

// Does what the arguments say. Data goes to `out`, messages to `err`. Returns
// the exit code.
int Run(int argc, const char* const* argv, const Environment& environment, std::ostream& out,
        std::ostream& err);

}  // namespace postern

#endif  // POSTERN_CLI_RUN_H_

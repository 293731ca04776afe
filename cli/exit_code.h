// How posternctl ends.

#ifndef POSTERN_CLI_EXIT_CODE_H_
#define POSTERN_CLI_EXIT_CODE_H_

namespace postern {

enum ExitCode : int {
  kExitDone = 0,
  // Refused or failed.
  kExitFailed = 1,
  // Wrong on its face: a form or a value.
  kExitUsage = 2,
  kExitNotFound = 3,
};

}  // namespace postern

#endif  // POSTERN_CLI_EXIT_CODE_H_

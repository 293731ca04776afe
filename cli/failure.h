// What went wrong in a call, in words and as an exit code. A failed call is an
// absl::Status that carries the server's details as payloads.

#ifndef POSTERN_CLI_FAILURE_H_
#define POSTERN_CLI_FAILURE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cli/exit_code.h"

namespace postern {

// A status from a server: its code and message, the bytes of the
// google.rpc.Status that came with it (may be empty), and what we can say about
// mending it (may be empty).
absl::Status ServerFailure(absl::StatusCode code, absl::string_view message,
                           absl::string_view details, absl::string_view hint);

// INVALID_ARGUMENT is wrong on its face; NOT_FOUND is not found; all else failed.
ExitCode ExitCodeFor(absl::StatusCode code);

// Lines for stderr: the message, each google.rpc.BadRequest field violation
// under the option that set the field, and the hint.
std::string DescribeFailure(const absl::Status& status);

}  // namespace postern

#endif  // POSTERN_CLI_FAILURE_H_

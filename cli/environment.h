// What posternctl takes from the process around it, as values, so that a whole
// run can be tested.

#ifndef POSTERN_CLI_ENVIRONMENT_H_
#define POSTERN_CLI_ENVIRONMENT_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/listeners.h"

namespace postern {

struct Environment {
  std::map<std::string, std::string> variables;
  // The name of the user who runs the tool; may be empty.
  std::string user;
  bool out_is_terminal = false;
  // The width of the terminal in columns; 0 where there is none.
  int columns = 0;
  // For the times that people read.
  absl::TimeZone zone = absl::UTCTimeZone();
  std::function<absl::Time()> now = [] { return absl::Now(); };
  // Opens a descriptor that becomes readable when the user asks the tool to
  // stop (an interrupt). The caller closes it. Called before any thread starts.
  // Empty: nobody asks.
  std::function<absl::StatusOr<int>()> open_stop_fd;
  // Becomes another program, found as a shell finds it; returns only where that
  // fails. Empty: nothing can be run.
  std::function<absl::Status(const std::vector<std::string>& arguments)> become;
  // The host's TCP listeners.
  std::function<std::vector<ListeningSocket>()> listeners = ReadListeners;

  // The variable's value; unset and empty are the same.
  std::string Get(const std::string& name) const {
    const auto found = variables.find(name);
    return found == variables.end() ? "" : found->second;
  }
};

}  // namespace postern

#endif  // POSTERN_CLI_ENVIRONMENT_H_

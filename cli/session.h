// What a verb works with.

#ifndef POSTERN_CLI_SESSION_H_
#define POSTERN_CLI_SESSION_H_

#include <google/protobuf/message.h>

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/controller/client.h"
#include "cli/describe.h"
#include "cli/environment.h"
#include "cli/output.h"

namespace postern {

// Borrows all it is made of.
class Session {
 public:
  Session(const Environment& environment, const Invocation& invocation, std::ostream& out,
          std::ostream& err);

  const Environment& environment() const { return environment_; }
  const Invocation& invocation() const { return invocation_; }
  Format format() const { return invocation_.format; }
  bool is_local() const { return std::holds_alternative<LocalAgent>(invocation_.agent); }
  std::ostream& out() { return out_; }

  // The agent that the command line means. Warns on stderr about its
  // credentials.
  absl::StatusOr<std::unique_ptr<AgentClient>> Connect();

  // The controller that the command line means. Warns on stderr about its files.
  absl::StatusOr<ControllerClient> ConnectController();

  // For words to people, at this moment.
  Reader reader() const;

  // A line on stderr.
  void Say(absl::string_view message);
  // The failure on stderr; returns the exit code that goes with it.
  int Fail(const absl::Status& status);

  // The reply in the format asked for; `words` is its table form.
  absl::Status Print(const google::protobuf::Message& reply, const std::string& words);
  absl::Status PrintList(const std::string& name,
                         const std::vector<const google::protobuf::Message*>& replies,
                         const std::string& words);
  // The answer in the format asked for; `words` is its table form.
  void PrintJson(const Json& answer, const std::string& words);
  void PrintFacts(const Facts& facts, const std::string& words);

 private:
  const Environment& environment_;
  const Invocation& invocation_;
  std::ostream& out_;
  std::ostream& err_;
};

}  // namespace postern

#endif  // POSTERN_CLI_SESSION_H_

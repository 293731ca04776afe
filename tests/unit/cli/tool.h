// Runs of posternctl in a test, with a clock and a zone that stand still.

#ifndef POSTERN_TESTS_UNIT_CLI_TOOL_H_
#define POSTERN_TESTS_UNIT_CLI_TOOL_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/environment.h"
#include "tests/unit/cli/fake_agent.h"

namespace postern {

// The clock of every run: 2024-05-01T12:00:00Z.
absl::Time TestNow();
// Two hours ahead of UTC, called +02.
absl::TimeZone TestZone();

inline constexpr char kId[] = "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11";
inline constexpr char kOtherId[] = "11111111-2222-4333-8444-555555555555";

// An active grant of an hour from TestNow(), 203.0.113.7 to 22/tcp.
v1::Grant TestGrant(const std::string& id = kId);
v1::AuditEvent TestEvent(uint64_t number);

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

Outcome RunTool(const std::vector<std::string>& arguments, const Environment& environment);

// A test with a directory of its own and an agent on a socket in it.
class ToolTest : public ::testing::Test {
 protected:
  ToolTest();
  ~ToolTest() override;

  // Starts the agent at the first use.
  Outcome Tool(std::vector<std::string> arguments);
  Asked asked() { return agent_->asked(); }

  std::string directory_;
  std::string socket_;
  Answers answers_;
  Environment environment_;

 private:
  std::unique_ptr<FakeAgent> agent_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_UNIT_CLI_TOOL_H_

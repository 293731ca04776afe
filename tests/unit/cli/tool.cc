#include "tests/unit/cli/tool.h"

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "cli/channel.h"
#include "cli/proto_time.h"
#include "cli/run.h"

namespace postern {

absl::Time TestNow() { return absl::FromUnixSeconds(1714564800); }

absl::TimeZone TestZone() { return absl::FixedTimeZone(2 * 60 * 60); }

v1::Grant TestGrant(const std::string& id) {
  v1::Grant grant;
  grant.set_id(id);
  grant.add_source_prefixes("203.0.113.7/32");
  v1::Port* port = grant.add_ports();
  port->set_number(22);
  port->set_protocol(v1::TCP);
  *grant.mutable_duration() = ToProto(absl::Hours(1));
  grant.set_requestor("alice");
  grant.set_justification("deploy 142");
  grant.set_on_expiry(v1::KEEP);
  grant.set_state(v1::ACTIVE);
  *grant.mutable_start_time() = ToProto(TestNow());
  *grant.mutable_end_time() = ToProto(TestNow() + absl::Hours(1) + absl::Milliseconds(250));
  grant.set_created_by("local");
  grant.mutable_usage();
  return grant;
}

v1::AuditEvent TestEvent(uint64_t number) {
  v1::AuditEvent event;
  event.set_number(number);
  *event.mutable_time() = ToProto(TestNow());
  event.set_kind(v1::GRANT_CREATED);
  event.set_actor("local");
  event.set_grant_id(kId);
  event.set_requestor("alice");
  event.add_source_prefixes("203.0.113.7/32");
  v1::Port* port = event.add_ports();
  port->set_number(22);
  port->set_protocol(v1::TCP);
  *event.mutable_end_time() = ToProto(TestNow() + absl::Hours(1));
  event.set_detail("deploy 142");
  return event;
}

Outcome RunTool(const std::vector<std::string>& arguments, const Environment& environment) {
  std::vector<const char*> argv = {"posternctl"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out;
  std::ostringstream err;
  Outcome outcome;
  outcome.exit_code = Run(static_cast<int>(argv.size()), argv.data(), environment, out, err);
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

ToolTest::ToolTest() {
  UseSystemResolver();
  std::string name = absl::StrCat(std::filesystem::temp_directory_path().string(), "/cli-XXXXXX");
  if (mkdtemp(name.data()) == nullptr) std::abort();
  directory_ = name;
  socket_ = directory_ + "/agent.sock";
  environment_.user = "bob";
  environment_.zone = TestZone();
  environment_.now = TestNow;
  answers_.grant = TestGrant();
}

ToolTest::~ToolTest() {
  agent_.reset();
  std::filesystem::remove_all(directory_);
}

Outcome ToolTest::Tool(std::vector<std::string> arguments) {
  if (agent_ == nullptr) agent_ = StartFakeAgent("unix:" + socket_, answers_);
  if (agent_ == nullptr) return {};
  arguments.insert(arguments.end(), {"--socket", socket_});
  return RunTool(arguments, environment_);
}

}  // namespace postern

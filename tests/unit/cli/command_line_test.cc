#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/cli/tool.h"

namespace postern {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CommandLine : public ::testing::Test {
 protected:
  CommandLine() { environment_.now = TestNow; }

  std::variant<Invocation, Finished> Parse(const std::vector<std::string>& arguments) {
    std::vector<const char*> argv = {"posternctl"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    return ParseCommandLine(static_cast<int>(argv.size()), argv.data(), environment_);
  }
  Invocation Good(const std::vector<std::string>& arguments) {
    auto parsed = Parse(arguments);
    if (const auto* finished = std::get_if<Finished>(&parsed)) {
      ADD_FAILURE() << finished->message << finished->output;
      return {};
    }
    return std::get<Invocation>(parsed);
  }
  // The message of a command line that is wrong on its face.
  std::string Wrong(const std::vector<std::string>& arguments) {
    const auto parsed = Parse(arguments);
    const auto* finished = std::get_if<Finished>(&parsed);
    if (finished == nullptr || finished->exit_code != 2 || !finished->output.empty()) {
      ADD_FAILURE() << "taken: " << ::testing::PrintToString(arguments);
      return "";
    }
    return finished->message;
  }

  Environment environment_;
};

TEST_F(CommandLine, GrantTakesAllItsOptions) {
  environment_.user = "bob";
  const auto invocation =
      Good({"grant", "--from", "203.0.113.7", "--from", "2001:db8::/64", "--port", "22", "--port",
            "3389/any", "--for", "1h30m", "--until", "2024-05-01T14:00:00+02:00", "--justification",
            "-x", "--on-expiry", "cut", "--id", "6F0C1D52-3C44-4B0E-9A53-0D2F1B7A8C11"});
  const auto& grant = std::get<GrantCommand>(invocation.command);
  ASSERT_EQ(2U, grant.from.size());
  EXPECT_EQ("203.0.113.7/32", grant.from[0].ToString());
  EXPECT_EQ("2001:db8::/64", grant.from[1].ToString());
  ASSERT_EQ(2U, grant.ports.size());
  EXPECT_EQ("22/tcp", FormatPort(grant.ports[0]));
  EXPECT_EQ("3389/any", FormatPort(grant.ports[1]));
  EXPECT_EQ(absl::Minutes(90), grant.duration);
  EXPECT_EQ(TestNow(), *grant.not_after);
  EXPECT_EQ("-x", grant.justification);
  EXPECT_EQ("bob", grant.requestor);
  EXPECT_EQ(v1::CUT, grant.on_expiry);
  EXPECT_EQ(kId, grant.id);
}

TEST_F(CommandLine, GrantIsForTheUserBehindSudo) {
  environment_.user = "root";
  environment_.variables["SUDO_USER"] = "carol";
  const Invocation invocation = Good({"grant", "--port", "22", "--for", "1h"});
  EXPECT_EQ("carol", std::get<GrantCommand>(invocation.command).requestor);
  EXPECT_EQ(36U, std::get<GrantCommand>(invocation.command).id.size());
}

TEST_F(CommandLine, OptionsOfTheToolGoBeforeAndAfterTheVerb) {
  for (const auto& arguments : {std::vector<std::string>{"-o", "json", "grants", "--all"},
                                {"grants", "--all", "-o", "json"},
                                {"grants", "--output=json", "--all"}}) {
    const Invocation invocation = Good(arguments);
    EXPECT_EQ(Format::kJson, invocation.format);
    EXPECT_TRUE(std::get<GrantsCommand>(invocation.command).include_ended);
  }
}

TEST_F(CommandLine, RefusesBadFormsAndValues) {
  const std::vector<std::vector<std::string>> cases = {
      {},
      {"grant"},
      {"grant", "--port", "22"},
      {"grant", "--for", "1h"},
      {"grant", "--port", "22", "--for", "0s"},
      {"grant", "--port", "22", "--for", "-1h"},
      {"grant", "--port", "22", "--for", "1h", "--for", "2h"},
      {"grant", "--port", "0", "--for", "1h"},
      {"grant", "--port", "65536", "--for", "1h"},
      {"grant", "--port", "22", "3389", "--for", "1h"},
      {"grant", "--port", "22", "--for", "1h", "--from", "203.0.113.7/24"},
      {"grant", "--port", "22", "--for", "1h", "--from", ""},
      {"grant", "--port", "22", "--for", "1h", "--until", "tomorrow"},
      {"grant", "--port", "22", "--for", "1h", "--on-expiry", "explode"},
      {"grant", "--port", "22", "--for", "1h", "--id", "7"},
      {"grant", "--port", "22", "--for", "1h", "--justification", "\xff"},
      {"extend", "--for", "1h"},
      {"extend", "7", "--for", "1h"},
      {"extend", kId},
      {"move", "--from", "203.0.113.7"},
      {"revoke"},
      {"revoke", kId, "--all"},
      {"revoke", kId, kOtherId},
      {"check", "--from", "203.0.113.7"},
      {"check", "--from", "203.0.113.0/24", "--port", "22"},
      {"watch", "--after", "-1"},
      {"watch", "--after", "18446744073709551616"},
      {"watch", "--after", ""},
      {"audit", "--since", "yesterday"},
      {"audit", "--format", "xml"},
      {"audit", "--format", "yaml"},
      {"audit", "--format", "csv", "-o", "json"},
      {"grants", "-o", "csv"},
      {"grants", "-o", "JSON"},
      {"status", "extra"},
      {"status", "--unknown"},
      {"status", "--timeout", "0s"},
      {"status", "--timeout", "5"},
      {"status", "--socket", std::string(108, 'x')},
      {"status", "--socket", "/a", "--address", "h:1"},
      {"status", "--ca", "x"},
      {"status", "--address", "vm1"},
      {"status", "--address", "vm1:7443", "--ca", "x", "--cert", "y"},
      {"pki"},
      {"pki", "init"},
      {"pki", "server", "--dir", "d"},
      {"pki", "agent", "--dir", "d"},
      {"pki", "agent", "--dir", "d", "--name", "x", "--role", "viewer"},
      {"pki", "agent", "--dir", "d", "--name", "x", "--address", "192.0.2.0/24"},
      {"pki", "agent", "--dir", "d", "--name", "x", "--address", "a,DNS:b"},
      {"pki", "client", "--dir", "d", "--name", "x", "--role", "controller"},
      {"pki", "client", "--dir", "d", "--name", "x", "--days", "0"},
      {"pki", "client", "--dir", "d", "--name", "x", "--days", "3651"},
      {"pki", "client", "--dir", "d", "--name", ""},
      {"pki", "client", "--dir", "d", "--name", ".x"},
      {"pki", "client", "--dir", "d", "--name", "../x"},
      {"pki", "client", "--dir", "d", "--name", "ca"},
      {"pki", "client", "--dir", "d", "--name", std::string(65, 'x')},
      {"pki", "client", "--dir", "d", "--name", "a\nb"},
  };
  for (const auto& arguments : cases) EXPECT_THAT(Wrong(arguments), HasSubstr("posternctl: "));
}

TEST_F(CommandLine, AVerbThatIsNoneIsRefusedWithThoseThereAre) {
  for (const char* verb : {"policies", "requests", "vms"}) {
    EXPECT_THAT(Wrong({verb}), HasSubstr("is not a command; there are status, grants"));
  }
}

TEST_F(CommandLine, MessagesNameTheOptionAndCannotSteerATerminal) {
  EXPECT_THAT(Wrong({"grant", "--port", "\033[2J", "--for", "1h"}), HasSubstr("--port: \"\\x1b"));
  EXPECT_THAT(Wrong({"\033[2J"}), Not(HasSubstr("\033")));
  EXPECT_THAT(Wrong({"status", "--x\033"}), Not(HasSubstr("\033")));
}

TEST_F(CommandLine, TheAgentIsWhereTheCommandLineSaysElseTheEnvironment) {
  EXPECT_EQ("/run/postern/agent.sock", std::get<LocalAgent>(Good({"status"}).agent).socket);
  environment_.variables["POSTERN_SOCKET"] = "/env.sock";
  EXPECT_EQ("/env.sock", std::get<LocalAgent>(Good({"status"}).agent).socket);
  EXPECT_EQ("/cli.sock",
            std::get<LocalAgent>(Good({"status", "--socket", "/cli.sock"}).agent).socket);

  environment_.variables["POSTERN_ADDRESS"] = "vm1:7443";
  EXPECT_THAT(Wrong({"status"}), HasSubstr("both set"));
  environment_.variables.erase("POSTERN_SOCKET");
  EXPECT_THAT(Wrong({"status"}), HasSubstr("--ca"));
  environment_.variables["POSTERN_CA"] = "env-ca";
  environment_.variables["POSTERN_CERT"] = "env-cert";
  environment_.variables["POSTERN_KEY"] = "env-key";
  auto remote = std::get<RemoteAgent>(Good({"status"}).agent);
  EXPECT_EQ("vm1:7443", remote.address.ToString());
  EXPECT_EQ("env-ca", remote.ca_file);
  remote =
      std::get<RemoteAgent>(Good({"status", "--address", "192.0.2.1:1", "--key", "cli-key"}).agent);
  EXPECT_EQ("192.0.2.1:1", remote.address.ToString());
  EXPECT_EQ("env-cert", remote.cert_file);
  EXPECT_EQ("cli-key", remote.key_file);
  EXPECT_EQ("/cli.sock",
            std::get<LocalAgent>(Good({"status", "--socket", "/cli.sock"}).agent).socket);
}

TEST_F(CommandLine, EveryVerbHasHelpWithAnExample) {
  const std::vector<std::vector<std::string>> verbs = {{},
                                                       {"status"},
                                                       {"grant"},
                                                       {"grants"},
                                                       {"extend"},
                                                       {"move"},
                                                       {"revoke"},
                                                       {"check"},
                                                       {"watch"},
                                                       {"audit"},
                                                       {"doctor"},
                                                       {"pki"},
                                                       {"pki", "init"},
                                                       {"pki", "agent"},
                                                       {"pki", "controller"},
                                                       {"pki", "client"}};
  for (std::vector<std::string> arguments : verbs) {
    arguments.push_back("--help");
    const auto parsed = Parse(arguments);
    const auto& finished = std::get<Finished>(parsed);
    EXPECT_EQ(0, finished.exit_code);
    EXPECT_EQ("", finished.message);
    EXPECT_THAT(finished.output, HasSubstr("Examples:\n  posternctl "));
  }
}

TEST_F(CommandLine, TellsItsVersion) {
  const auto parsed = Parse({"--version"});
  EXPECT_THAT(std::get<Finished>(parsed).output, HasSubstr("posternctl "));
  EXPECT_EQ(0, std::get<Finished>(parsed).exit_code);
}

}  // namespace
}  // namespace postern

// agent.yaml as files: drop-ins, who may write them, the shipped one, and the
// certificates they name.

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "agent/config/config.h"
#include "agent/config/last_gate.h"
#include "gtest/gtest.h"
#include "tests/unit/config/pem_files.h"

namespace postern {
namespace {

class LoadConfigTest : public testing::Test {
 protected:
  absl::StatusOr<Config> Load() { return LoadConfig(dir_.Path("agent.yaml")); }

  // The error, with the test's directory taken out.
  std::string Error() {
    const absl::StatusOr<Config> config = Load();
    EXPECT_TRUE(absl::IsInvalidArgument(config.status())) << config.status();
    std::string message(config.status().message());
    const std::string directory = dir_.Path("");
    for (size_t at = 0; (at = message.find(directory)) != std::string::npos;) {
      message.erase(at, directory.size());
    }
    return message;
  }

  // A listen section whose files stand in the directory.
  void WriteListen() {
    const KeyPair pair = MakeKeyPair();
    dir_.Write("agent.pem", pair.cert, 0644);
    dir_.Write("agent.key", pair.key);
    dir_.Write("ca.pem", MakeKeyPair().cert, 0644);
    dir_.Write("agent.yaml",
               "listen:\n"
               "  address: 127.0.0.1:7443\n"
               "  from: [192.0.2.0/24]\n"
               "  tls: {cert: agent.pem, key: agent.key, ca: ca.pem}\n"
               "  peers: [{san: controller, role: controller}]\n");
  }

  TestDirectory dir_;
};

TEST_F(LoadConfigTest, AnEmptyFileIsTheDefaults) {
  dir_.Write("agent.yaml", "");
  const absl::StatusOr<Config> config = Load();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(*config == Config{});
}

TEST_F(LoadConfigTest, AMissingFileIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(Load().status())) << Load().status();
}

TEST_F(LoadConfigTest, LaterFilesReplaceKeysOfEarlierOnes) {
  dir_.Write("agent.yaml",
             "mode: observe\n"
             "guard: {ports: [22, 80], trusted_interfaces: [lo, eth1]}\n"
             "limits: {max_duration: 1h, max_live_grants: 5}\n");
  dir_.Write("agent.yaml.d/20-b.yaml", "limits: {max_duration: 2h}\n");
  dir_.Write("agent.yaml.d/10-a.yaml",
             "limits: {max_duration: 3m, max_live_grants: 6}\nguard: {ports: [23]}\n");
  dir_.Write("agent.yaml.d/9-last.yaml", "on_expiry: cut\n");
  dir_.Write("agent.yaml.d/30-empty.yaml", "# nothing yet\n");
  dir_.Write("agent.yaml.d/40-ignored.yaml.bak", "broken");
  dir_.Write("agent.yaml.d/.hidden.yaml", "broken");

  Config expected;
  expected.mode = Mode::kObserve;
  expected.trusted_interfaces = {"lo", "eth1"};
  expected.limits.guarded_ports = {23};
  expected.limits.max_duration = absl::Hours(2);
  expected.limits.max_live_grants = 6;
  expected.limits.on_expiry = OnExpiry::kCut;
  const absl::StatusOr<Config> config = Load();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(*config == expected);
}

TEST_F(LoadConfigTest, DropInsAreTakenInTheOrderOfTheirBytes) {
  dir_.Write("agent.yaml", "");
  for (const char* name : {"10", "9", "B", "a", "é"}) {
    dir_.Write(std::string("agent.yaml.d/") + name + ".yaml",
               std::string("state_dir: /") + name + "\n");
    EXPECT_EQ(Load()->state_dir, std::string("/") + name);
  }
}

TEST_F(LoadConfigTest, ErrorsNameTheFileTheKeyStandsIn) {
  dir_.Write("agent.yaml", "mode: enforce\nguard: {ports: [22]}\n");
  dir_.Write("agent.yaml.d/a.yaml", "guard:\n  prots: [22]\n");
  EXPECT_EQ(Error(),
            "agent.yaml.d/a.yaml:2:3: unknown key \"prots\" in guard; did you mean \"ports\"?");
  dir_.Write("agent.yaml.d/a.yaml", "limits: {allowed_ports: [23]}\n");
  EXPECT_EQ(Error(),
            "agent.yaml.d/a.yaml:1:26: limits.allowed_ports lists 23, which is not guarded; "
            "guard.ports lists 22");
  dir_.Write("agent.yaml.d/a.yaml", "guard:\n");
  EXPECT_EQ(Error(), "agent.yaml.d/a.yaml:1:1: guard has no value; write one or remove the key");
  dir_.Write("agent.yaml", "mode: off\n");
  dir_.Write("agent.yaml.d/a.yaml", "limits: {max_duration: 1h}\n");
  EXPECT_EQ(Error(), "agent.yaml:1:7: mode wants enforce or observe, not \"off\"");
}

TEST_F(LoadConfigTest, ADropInMayMendOrCompleteTheFile) {
  WriteListen();
  dir_.Write("agent.yaml.d/a.yaml", "listen: {address: \"0.0.0.0:22\"}\n");
  EXPECT_EQ(Error(),
            "agent.yaml.d/a.yaml:1:19: listen.address has port 22, which guard.ports lists; listen "
            "on another port");
  dir_.Write("agent.yaml.d/b.yaml", "guard: {ports: [3389]}\n");
  EXPECT_TRUE(Load().ok()) << Load().status();
}

TEST_F(LoadConfigTest, RelativePathsStartAtTheirOwnFile) {
  dir_.Write("agent.yaml", "state_dir: state\n");
  dir_.Write("agent.yaml.d/a.yaml", "socket: s.sock\n");
  const absl::StatusOr<Config> config = Load();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_dir, dir_.Path("state"));
  EXPECT_EQ(config->socket, dir_.Path("agent.yaml.d/s.sock"));
}

TEST_F(LoadConfigTest, RefusesWhatEverybodyMayWrite) {
  dir_.Write("agent.yaml", "", 0646);
  EXPECT_EQ(Error(), "agent.yaml: everybody may write it (mode 0646); run chmod o-w");
  dir_.Write("agent.yaml", "", 0664);
  EXPECT_TRUE(Load().ok()) << Load().status();
  dir_.Write("agent.yaml.d/a.yaml", "", 0602);
  EXPECT_EQ(Error(), "agent.yaml.d/a.yaml: everybody may write it (mode 0602); run chmod o-w");
  dir_.Write("agent.yaml.d/a.yaml", "", 0600);
  ASSERT_EQ(chmod(dir_.Path("agent.yaml.d").c_str(), 01777), 0);
  EXPECT_EQ(Error(), "agent.yaml.d: everybody may write it (mode 1777); run chmod o-w");
}

TEST_F(LoadConfigTest, FollowsLinksToRegularFilesOnly) {
  dir_.Write("real.yaml", "mode: observe\n");
  ASSERT_EQ(symlink("real.yaml", dir_.Path("agent.yaml").c_str()), 0);
  EXPECT_TRUE(Load().ok()) << Load().status();
  std::filesystem::create_directory(dir_.Path("agent.yaml.d"));
  ASSERT_EQ(mkfifo(dir_.Path("agent.yaml.d/f.yaml").c_str(), 0600), 0);
  EXPECT_EQ(Error(), "agent.yaml.d/f.yaml: this is not a regular file");
  std::filesystem::remove(dir_.Path("agent.yaml.d/f.yaml"));
  ASSERT_EQ(symlink("nowhere", dir_.Path("agent.yaml.d/f.yaml").c_str()), 0);
  EXPECT_EQ(
      Error(),
      "agent.yaml.d/f.yaml: No such file or directory (errno 2); put it there or correct the path");
}

TEST_F(LoadConfigTest, BoundsTheFileAndTheNumberOfFiles) {
  dir_.Write("agent.yaml", std::string((1 << 20) + 1, '\n'));
  EXPECT_EQ(Error(), "agent.yaml: the file has more than 1048576 bytes");
  dir_.Write("agent.yaml", "");
  for (int i = 0; i < 257; ++i) dir_.Write("agent.yaml.d/" + std::to_string(i) + ".yaml", "");
  EXPECT_EQ(Error(), "agent.yaml.d: there are more than 256 files; join some");
}

TEST_F(LoadConfigTest, ChecksTheCertificatesThatAreNamed) {
  WriteListen();
  const absl::StatusOr<Config> config = Load();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen->tls.key, dir_.Path("agent.key"));

  std::filesystem::remove(dir_.Path("agent.pem"));
  EXPECT_EQ(Error(),
            "agent.yaml:4:15: listen.tls.cert: agent.pem: No such file or directory (errno 2); put "
            "it there "
            "or correct the path");
  dir_.Write("agent.pem", MakeKeyPair().cert);
  EXPECT_EQ(Error(),
            "agent.yaml:4:31: listen.tls.key: agent.key: this key does not belong to the "
            "certificate in agent.pem (key values mismatch)");
  dir_.Write("agent.yaml.d/a.yaml", "controller: {address: \"[::1]:7444\", ca: missing.pem}\n");
  WriteListen();
  EXPECT_EQ(Error(),
            "agent.yaml.d/a.yaml:1:41: controller.ca: agent.yaml.d/missing.pem: No such file or "
            "directory (errno 2); put it there or correct the path");
}

// Installing the package must lock nobody out.
TEST(ShippedConfig, HoldsTheDefaultsAndObserves) {
  const absl::StatusOr<Config> config = LoadConfig(SHIPPED_CONFIG);
  ASSERT_TRUE(config.ok()) << config.status();
  Config expected;
  expected.mode = Mode::kObserve;
  EXPECT_TRUE(*config == expected);
}

// Prose starts with "# " and a word; a line of configuration that is commented
// out has "#" and its own indentation.
TEST(ShippedConfig, IsValidWithEverythingCommentedIn) {
  std::ifstream file(SHIPPED_CONFIG);
  std::stringstream text;
  for (std::string line; std::getline(file, line);) {
    const bool prose = line.size() < 3 || (line[1] == ' ' && line[2] != ' ');
    text << (line[0] == '#' && !prose ? line.substr(1) : line) << '\n';
  }
  const absl::StatusOr<Config> config = ParseConfig(text.str(), "agent.yaml", "/etc/postern");
  ASSERT_TRUE(config.ok()) << config.status() << text.str();
  EXPECT_TRUE(config->listen.has_value());
  EXPECT_TRUE(config->controller.has_value());
  EXPECT_EQ(config->limits.allowed_ports, std::vector<uint16_t>{22});
}

// ---- Credentials

class CredentialsTest : public LoadConfigTest {
 protected:
  void SetUp() override {
    WriteListen();
    std::filesystem::create_directory(dir_.Path("credentials"));
    setenv("CREDENTIALS_DIRECTORY", dir_.Path("credentials").c_str(), 1);
  }
  void TearDown() override { unsetenv("CREDENTIALS_DIRECTORY"); }
};

TEST_F(CredentialsTest, ARelativePathNamesACredentialFirst) {
  std::filesystem::rename(dir_.Path("agent.key"), dir_.Path("credentials/agent.key"));
  const absl::StatusOr<Config> config = Load();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen->tls.key, dir_.Path("credentials/agent.key"));
  EXPECT_EQ(config->listen->tls.cert, dir_.Path("agent.pem"));
}

TEST_F(CredentialsTest, AFolderOfCredentialsIsNamedByItsPath) {
  const KeyPair pair = MakeKeyPair();
  dir_.Write("credentials/tls_agent.pem", pair.cert);
  dir_.Write("credentials/tls_agent.key", pair.key);
  dir_.Write("credentials/tls_ca.pem", pair.cert);
  dir_.Write("agent.yaml.d/tls.yaml",
             "listen: {tls: {cert: tls/agent.pem, key: tls/agent.key, ca: tls/ca.pem}}\n");
  const absl::StatusOr<Config> config = Load();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen->tls.key, dir_.Path("credentials/tls_agent.key"));
  EXPECT_EQ(config->listen->tls.ca, dir_.Path("credentials/tls_ca.pem"));
}

TEST_F(LoadConfigTest, ABootDoesNotAskForCertificates) {
  WriteListen();
  std::filesystem::remove(dir_.Path("agent.key"));
  EXPECT_FALSE(Load().ok());
  const absl::StatusOr<Config> config = LoadConfigWithoutCertificates(dir_.Path("agent.yaml"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen->port, 7443);
}

// ---- The gate that was in force last

TEST_F(LoadConfigTest, TheLastGateComesBackAsItWas) {
  Config config;
  config.state_dir = dir_.Path("");
  EXPECT_TRUE(absl::IsNotFound(ReadLastGate(config.state_dir).status()));
  config.mode = Mode::kObserve;
  config.limits.guarded_ports = {22, 8022};
  config.always_allow = {*Prefix::Parse("192.0.2.0/24"), *Prefix::Parse("2001:db8::/32")};
  ASSERT_TRUE(SaveLastGate(config).ok());
  config.mode = Mode::kEnforce;
  config.trusted_interfaces = {"lo", "on", "1e3"};
  ASSERT_TRUE(SaveLastGate(config).ok());
  const absl::StatusOr<Config> last = ReadLastGate(config.state_dir);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(last->mode, Mode::kEnforce);
  EXPECT_EQ(last->limits.guarded_ports, config.limits.guarded_ports);
  EXPECT_EQ(last->trusted_interfaces, config.trusted_interfaces);
  EXPECT_EQ(last->always_allow, config.always_allow);
}

}  // namespace
}  // namespace postern

// agent.yaml as text: what it means, and what is said about what it cannot mean.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "agent/config/config.h"
#include "gtest/gtest.h"

namespace postern {
namespace {

absl::StatusOr<Config> Parse(const std::string& text) {
  return ParseConfig(text, "agent.yaml", "/etc/postern");
}

std::string ErrorOf(const std::string& text) {
  const absl::StatusOr<Config> config = Parse(text);
  EXPECT_TRUE(config.ok() || absl::IsInvalidArgument(config.status())) << config.status();
  return std::string(config.status().message());
}

Prefix P(const std::string& text) { return Prefix::Parse(text).value(); }

constexpr char kFull[] = R"(mode: observe
guard:
  ports: [22, 8022]
  trusted_interfaces: [lo, wg0]
  always_allow: [192.0.2.10, "2001:db8::/64"]
limits:
  max_duration: 1h30m
  allowed_sources: ["203.0.113.0/24"]
  allowed_ports: [8022]
  shortest_prefix: {ipv4: 0, ipv6: 128}
  max_live_grants: 1000000
on_expiry: reset
state_dir: state
socket: /run/other.sock
listen:
  address: "[::]:7443"
  from: [192.0.2.0/24]
  tls: {cert: agent.pem, key: /secret/agent.key, ca: tls/ca.pem}
  peers:
    - {san: "spiffe://example.org/postern/controller", role: controller}
    - san: ops.example.org
      role: operator
    - {san: monitor, role: viewer}
controller:
  address: controller.example.org:7444
  ca: ca.pem
metrics_socket: /run/metrics.sock
)";

TEST(ParseConfig, ReadsEveryKey) {
  const absl::StatusOr<Config> config = Parse(kFull);
  ASSERT_TRUE(config.ok()) << config.status();
  Config expected;
  expected.mode = Mode::kObserve;
  expected.trusted_interfaces = {"lo", "wg0"};
  expected.always_allow = {P("192.0.2.10/32"), P("2001:db8::/64")};
  expected.limits = {.guarded_ports = {22, 8022},
                     .allowed_ports = {8022},
                     .max_duration = absl::Minutes(90),
                     .allowed_sources = {P("203.0.113.0/24")},
                     .shortest_prefix_ipv4 = 0,
                     .shortest_prefix_ipv6 = 128,
                     .max_live_grants = 1'000'000,
                     .on_expiry = OnExpiry::kReset};
  expected.state_dir = "/etc/postern/state";
  expected.socket = "/run/other.sock";
  expected.metrics_socket = "/run/metrics.sock";
  expected.listen =
      ListenConfig{.address = Address::Parse("::").value(),
                   .port = 7443,
                   .from = {P("192.0.2.0/24")},
                   .tls = {.cert = "/etc/postern/agent.pem",
                           .key = "/secret/agent.key",
                           .ca = "/etc/postern/tls/ca.pem"},
                   .peers = {{"spiffe://example.org/postern/controller", Role::kController},
                             {"ops.example.org", Role::kOperator},
                             {"monitor", Role::kViewer}}};
  expected.controller =
      ControllerConfig{.address = "controller.example.org:7444", .ca = "/etc/postern/ca.pem"};
  EXPECT_TRUE(*config == expected);
}

TEST(ParseConfig, NothingMeansTheDefaults) {
  for (const std::string text : {"", "\n", "# only a comment\n", "---\n", "---\n...\n",
                                 "\xef\xbb\xbf# a byte order mark\n", "{}\n"}) {
    const absl::StatusOr<Config> config = Parse(text);
    ASSERT_TRUE(config.ok()) << text << config.status();
    EXPECT_TRUE(*config == Config{}) << text;
  }
}

TEST(ParseConfig, AKeyLeavesItsNeighboursAtTheirDefaults) {
  Config expected;
  expected.limits.shortest_prefix_ipv4 = 24;
  const absl::StatusOr<Config> config = Parse("limits: {shortest_prefix: {ipv4: 24}}\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(*config == expected);
}

TEST(ParseConfig, TakesTheEdgesOfEveryRange) {
  for (const std::string text :
       {"guard: {ports: [1, 65535]}", "guard: {trusted_interfaces: []}",
        "guard: {trusted_interfaces: [fifteen-letters]}", "guard: {always_allow: []}",
        "guard: {always_allow: [0.0.0.0/1]}", "limits: {max_duration: 1s}",
        "limits: {max_duration: 365d}", "limits: {shortest_prefix: {ipv4: 32, ipv6: 0}}",
        "limits: {max_live_grants: 1}", "mode: \"enforce\"", "mode: 'enforce' # quoted\r\n"}) {
    EXPECT_TRUE(Parse(text).ok()) << text << ": " << Parse(text).status();
  }
}

struct Bad {
  std::string text;
  // After "agent.yaml:".
  std::string error;
};

void ExpectErrors(const std::vector<Bad>& table) {
  for (const Bad& bad : table) {
    EXPECT_EQ(ErrorOf(bad.text), "agent.yaml:" + bad.error) << bad.text;
  }
}

TEST(ParseConfig, RefusesUnknownAndRepeatedKeys) {
  ExpectErrors({
      {"guard:\n  prots: [22]\n", "2:3: unknown key \"prots\" in guard; did you mean \"ports\"?"},
      {"mode: enforce\ngaurd: {}\n", "2:1: unknown key \"gaurd\"; did you mean \"guard\"?"},
      {"max_duration: 3h\n", "1:1: unknown key \"max_duration\"; it belongs in limits"},
      {"guard: {nonsense: 1}\n",
       "1:9: unknown key \"nonsense\" in guard; known are ports, trusted_interfaces, "
       "always_allow"},
      {"Mode: enforce\n", "1:1: unknown key \"Mode\"; did you mean \"mode\"?"},
      {"\"\\e[2J\": 1\n",
       "1:1: unknown key \"\\x1b[2J\"; known are mode, guard, limits, on_expiry, state_dir, "
       "socket, metrics_socket, listen, controller"},
      {"mode: enforce\n# here again\nmode: observe\n",
       "3:1: key \"mode\" is already set in line 1; remove one of them"},
      {"limits: {shortest_prefix: {ipv4: 8, ipv4: 0}}\n",
       "1:37: key \"ipv4\" is already set in line 1; remove one of them"},
      {"<<: {mode: observe}\n",
       "1:1: unknown key \"<<\"; known are mode, guard, limits, on_expiry, state_dir, socket, "
       "metrics_socket, listen, controller"},
  });
}

TEST(ParseConfig, RefusesWrongTypes) {
  ExpectErrors({
      {"guard: 22\n", "1:8: guard wants a mapping, not \"22\""},
      {"guard: [22]\n", "1:8: guard wants a mapping, not a list"},
      {"guard:\nmode: enforce\n", "1:1: guard has no value; write one or remove the key"},
      {"mode: ~\n", "1:1: mode has no value; write one or remove the key"},
      {"mode: true\n", "1:7: mode wants enforce or observe, not \"true\""},
      {"mode: Enforce\n", "1:7: mode wants enforce or observe, not \"Enforce\""},
      {"mode: [enforce]\n", "1:7: mode wants enforce or observe, not a list"},
      {"on_expiry: drop\n", "1:12: on_expiry wants keep or cut or reset, not \"drop\""},
      {"guard:\n  ports: 22\n", "2:10: guard.ports wants a list; put the values in [ ]"},
      {"guard: {ports: {22: tcp}}\n", "1:16: guard.ports wants a list, not a mapping"},
      {"guard: {ports: [ssh]}\n", "1:17: guard.ports wants a number from 1 to 65535, not \"ssh\""},
      {"guard: {ports: [\"22\"]}\n",
       "1:17: guard.ports wants a number from 1 to 65535 without quotes"},
      {"guard: {ports: [22, , 23]}\n",
       "1:21: guard.ports has no value; write one or remove the key"},
      {"state_dir: {a: b}\n", "1:12: state_dir wants text, not a mapping"},
      {"state_dir: \"\"\n", "1:12: state_dir is empty; write a value or remove the key"},
      {"- mode\n", "1:1: the file wants keys such as \"mode: enforce\", not a list"},
      {"mode:enforce\n",
       "1:1: a \"key: value\" is wanted here, not \"mode:enforce\"; a colon needs a space after "
       "it"},
  });
}

TEST(ParseConfig, RefusesValuesOutOfBounds) {
  std::string many_ports = "guard: {ports: [1";
  for (int port = 2; port <= 65; ++port) absl::StrAppend(&many_ports, ", ", port);
  ExpectErrors({
      {"guard: {ports: [0]}", "1:17: guard.ports wants a number from 1 to 65535, not \"0\""},
      {"guard: {ports: [65536]}",
       "1:17: guard.ports wants a number from 1 to 65535, not \"65536\""},
      {"guard: {ports: [-22]}", "1:17: guard.ports wants a number from 1 to 65535, not \"-22\""},
      {"guard: {ports: [022]}", "1:17: guard.ports wants a number from 1 to 65535, not \"022\""},
      {"guard: {ports: [22.0]}", "1:17: guard.ports wants a number from 1 to 65535, not \"22.0\""},
      {"guard: {ports: [99999999999999999999]}",
       "1:17: guard.ports wants a number from 1 to 65535, not \"99999999999999999999\""},
      {"guard: {ports: [22, 23, 22]}", "1:25: guard.ports lists this twice; remove one of them"},
      {"guard: {ports: []}", "1:16: guard.ports is empty; list at least one, or remove the key"},
      {many_ports + "]}", "1:16: guard.ports lists 65; the most is 64"},
      {"guard: {trusted_interfaces: [sixteen-letters-]}",
       "1:30: guard.trusted_interfaces has 16 bytes; the most is 15"},
      {"guard: {trusted_interfaces: [a/b]}",
       "1:30: guard.trusted_interfaces wants the name of an interface, such as eth1, not "
       "\"a/b\""},
      {"guard: {trusted_interfaces: [eth*]}",
       "1:30: guard.trusted_interfaces wants the whole name of an interface, without a pattern, "
       "not \"eth*\""},
      {"guard: {trusted_interfaces: [et*h]}",
       "1:30: guard.trusted_interfaces wants the whole name of an interface, without a pattern, "
       "not \"et*h\""},
      {"guard: {always_allow: [10.1.0.1/16]}",
       "1:24: guard.always_allow: \"10.1.0.1/16\" has host bits set; 10.1.0.0/16 is the network, "
       "10.1.0.1/32 the one host"},
      {"guard: {always_allow: [10.0.0.0/33]}",
       "1:24: guard.always_allow: \"10.0.0.0/33\" needs a length from 0 to 32 after the slash"},
      {"guard: {always_allow: [example.org]}",
       "1:24: guard.always_allow: \"example.org\" is not an IPv4 or IPv6 address"},
      {"guard: {always_allow: [\"::/0\"]}",
       "1:24: guard.always_allow cannot hold ::/0, which would leave nothing closed; name the "
       "hosts or networks, or set mode: observe"},
      {"limits: {max_duration: 0s}",
       "1:24: limits.max_duration wants a duration from 1s to 365d, not \"0s\""},
      {"limits: {max_duration: 366d}",
       "1:24: limits.max_duration wants a duration from 1s to 365d, not \"366d\""},
      {"limits: {max_duration: 3600}",
       "1:24: limits.max_duration: \"3600\" has no unit; write 90s, 15m, 3h, 7d, 1h30m or PT3H"},
      {"limits: {max_live_grants: 0}",
       "1:27: limits.max_live_grants wants a number from 1 to 1000000, not \"0\""},
      {"limits: {max_live_grants: 1000001}",
       "1:27: limits.max_live_grants wants a number from 1 to 1000000, not \"1000001\""},
      {"limits: {shortest_prefix: {ipv4: 33}}",
       "1:34: limits.shortest_prefix.ipv4 wants a number from 0 to 32, not \"33\""},
      {"limits: {shortest_prefix: {ipv6: 129}}",
       "1:34: limits.shortest_prefix.ipv6 wants a number from 0 to 128, not \"129\""},
      {"limits: {allowed_sources: []}",
       "1:27: limits.allowed_sources is empty; list at least one, or remove the key"},
      {"limits: {allowed_ports: [22, 80]}",
       "1:30: limits.allowed_ports lists 80, which is not guarded; guard.ports lists 22, 3389, "
       "5985, 5986"},
      {"state_dir: \"a\\nb\"\n", "1:12: state_dir holds control characters: \"a\\x0ab\""},
  });
  EXPECT_TRUE(absl::StrContains(ErrorOf("socket: /" + std::string(107, 's')),
                                "108 bytes; the kernel takes 107 in the path of a socket"));
  EXPECT_EQ(ErrorOf("socket: /" + std::string(106, 's')), "");
  EXPECT_TRUE(absl::StrContains(ErrorOf("socket: /run/s\nmetrics_socket: /run/s\n"),
                                "metrics_socket is \"/run/s\", as socket is; name another path"));
}

// kFull with one part replaced.
std::string FullWith(const std::string& part, const std::string& replacement) {
  EXPECT_TRUE(absl::StrContains(kFull, part)) << part;
  return absl::StrReplaceAll(kFull, {{part, replacement}});
}

TEST(ParseConfig, RefusesAListenSectionThatCannotServe) {
  const std::string address = "\"[::]:7443\"";
  const std::string from = "from: [192.0.2.0/24]";
  const std::string host_port = "\"HOST:PORT\", in quotes, with an IPv6 address in brackets, not ";
  ExpectErrors({
      {"listen: {}",
       "1:9: listen needs \"address\": the address and port to listen on, such as "
       "\"[::]:7443\""},
      {FullWith(address, "\"::1:7443\""),
       "16:12: listen.address wants " + host_port + "\"::1:7443\""},
      {FullWith(address, "\":7443\""), "16:12: listen.address wants " + host_port + "\":7443\""},
      {FullWith(address, "[7443]"), "16:12: listen.address wants " + host_port + "a list"},
      {FullWith(address, "0.0.0.0:0"),
       "16:12: listen.address wants a port from 1 to 65535 after the last colon, not "
       "\"0.0.0.0:0\""},
      {FullWith(address, "localhost:7443"),
       "16:12: listen.address wants an address of this host, such as \"[::]:7443\"; \"localhost\" "
       "is not an IPv4 or IPv6 address"},
      {FullWith(address, "0.0.0.0:8022"),
       "16:12: listen.address has port 8022, which guard.ports lists; listen on another port"},
      {FullWith(address, "\"[2001:db8::1]:7443\""),
       "17:9: listen.from has no IPv6 prefix, so nobody could reach 2001:db8::1; add one, or "
       "listen on \"[::]:7443\""},
      {FullWith(from, "from: []"),
       "17:9: listen.from is empty; list at least one, or remove the key"},
      {FullWith(from, ""),
       "16:3: listen needs \"from\": the prefixes that may reach the port, "
       "such as [192.0.2.0/24]"},
      {FullWith("key: /secret/agent.key, ", ""),
       "18:8: listen.tls needs \"key\": the file with the certificate's key"},
      {FullWith("role: operator", "role: admin"),
       "22:13: listen.peers.role wants controller or operator or viewer, not \"admin\""},
      {FullWith("{san: monitor, role: viewer}", "{san: monitor}"),
       "23:7: listen.peers needs \"role\": controller, operator or viewer"},
      {FullWith("monitor, role", "ops.example.org, role"),
       "23:7: listen.peers names \"ops.example.org\" twice; remove one of them"},
      {FullWith("monitor, role", "\"*.example.org\", role"),
       "23:13: listen.peers.san wants the whole URI or DNS name of one certificate, not "
       "\"*.example.org\""},
      {FullWith("monitor, role", "\"mon\\titor\", role"),
       "23:13: listen.peers.san holds control characters: \"mon\\x09itor\""},
      {FullWith("monitor, role", "\"controller:ctl:7444\", role"),
       "23:13: listen.peers.san cannot begin with \"controller:\", which stands for the "
       "controller that the agent dials"},
      {FullWith("controller.example.org:7444", "\"http://example.org:7444\""),
       "25:12: controller.address wants \"HOST:PORT\", in quotes, with an IPv6 address in "
       "brackets, not \"http://example.org:7444\""},
      {FullWith("controller.example.org:7444", "example_org:7444"),
       "25:12: controller.address wants the name or address of a host, and a port, not "
       "\"example_org:7444\""},
  });
}

TEST(ParseConfig, RefusesYamlThatSaysLessOrMoreThanItShows) {
  ExpectErrors({
      {"guard:\n\tports: [22]\n", "2:1: a tab indents this line; use spaces"},
      {"mode: &m observe\n", "1:7: anchors are not used here; remove the &name"},
      {"guard: &g\n  ports: [22]\nlimits: *g\n",
       "1:8: anchors are not used here; remove the &name"},
      {"mode: *m\n",
       "1:7: aliases are not used here; write the value itself, in quotes if it starts with "
       "\"*\""},
      {"mode: !!str observe\n",
       "1:7: tags are not used here; remove the one that starts with \"!\""},
      {"mode: ! observe\n", "1:7: tags are not used here; remove the one that starts with \"!\""},
      {"mode: observe\n---\nmode: enforce\n",
       "2:1: a second document starts here; keep one, with all its top-level keys in the same "
       "column"},
      {" mode: observe\nguard: {}\n",
       "2:1: a second document starts here; keep one, with all its top-level keys in the same "
       "column"},
      {"socket: \"/run/a\nmode: observe\n",
       "1:9: the quote that opens here is not closed in this line; add \""},
      {"socket: '/run/a\nmode: observe'\n",
       "1:9: the quote that opens here is not closed in this line; add '"},
      {"socket: /run/a\n  b\n", "1:9: this value goes on in the next line; write it in one"},
      {"socket: |\n  /run/a\n", "1:9: text blocks are not used here; write the value in one line"},
      {"? [mode]\n: observe\n", "1:3: a key must be a plain name"},
      {": observe\n", "1:1: a key is missing before the colon"},
      {"guard: {ports: [22}\n",
       "1:19: this bracket closes none that is open; mend the pair, or put it in quotes where it "
       "is text"},
      {"guard: {ports: [22\n", "2:1: a list that \"[\" opened lacks a comma or its \"]\""},
      {"listen: {from: [192.0.2.0/24]\n",
       "2:1: a mapping that \"{\" opened lacks a comma or its \"}\""},
      {"mode: observe: x\n",
       "1:14: this colon follows no key; check the indentation, and put text that holds a colon "
       "in quotes"},
      {"mode: @x\n", "1:7: no value can start with this character; put the value in quotes"},
      {"mode: \"\\q\"\n", "1:10: this is not YAML: unknown escape character: q"},
      {std::string("mode: observe\n# \0\n", 17),
       "2:3: the control character \\x00 cannot stand here; remove it"},
      {"mode: observe\n\x04guard: broken",
       "2:1: the control character \\x04 cannot stand here; remove it"},
      {"mode: observe\n# caf\xe9\n", "2:1: this line is not UTF-8; save the file as UTF-8"},
  });
}

TEST(ParseConfig, BoundsWhatItReads) {
  EXPECT_EQ(ErrorOf(std::string((1 << 20) + 1, '\n')),
            "agent.yaml:1:1: the file has more than 1048576 bytes");
  EXPECT_EQ(ErrorOf("guard: " + std::string(17, '[') + std::string(17, ']')),
            "agent.yaml:1:23: values are nested more than 16 deep");
  std::string list = "guard: {ports: [1";
  for (int i = 0; i < 70'000; ++i) list += ",1";
  EXPECT_TRUE(absl::StrContains(ErrorOf(list + "]}"), "there are more than 65536 values"));
  std::string keys;
  for (int i = 0; i < 65; ++i) absl::StrAppend(&keys, "k", i, ": 1\n");
  EXPECT_EQ(ErrorOf(keys), "agent.yaml:65:1: there are more than 64 keys in one mapping");
  // A message stays a line of bounded length whatever stands in the file.
  EXPECT_LT(ErrorOf("mode: " + std::string(100'000, 'x')).size(), 200U);
}

TEST(ParseConfig, NamesTheFileSafely) {
  EXPECT_EQ(ParseConfig("x: 1", "a\nb.yaml", "/").status().message(),
            "a\\x0ab.yaml:1:1: unknown key \"x\"; known are mode, guard, limits, on_expiry, "
            "state_dir, socket, metrics_socket, listen, controller");
}

}  // namespace
}  // namespace postern

// Each situation made in a namespace with nft(8) and ip(8), and what the doctor
// finds there.

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <sys/socket.h>

#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/doctor/diagnose.h"
#include "agent/doctor/mapped_ports.h"
#include "tests/kernel/gate/world.h"

namespace postern {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// A finding of this severity and name whose text holds `text`.
auto Is(Severity severity, const std::string& name, const std::string& text) {
  return AllOf(Field(&Finding::severity, severity), Field(&Finding::name, name),
               Field(&Finding::finding, HasSubstr(text)));
}
auto Named(const std::string& name) { return Field(&Finding::name, name); }

// A host whose gate stands and whose guarded port is served.
class DoctorTest : public GateWorld {
 protected:
  void SetUp() override {
    GateWorld::SetUp();
    if (HasFatalFailure()) return;
    listeners_.clear();
    Listen(22);
    StartGate();
  }

  std::vector<Finding> Examine() {
    std::vector<Finding> findings;
    host_->Run([&] { findings = Diagnose(ReadHost(guard_.ports), guard_); });
    return findings;
  }

  // A listener on one address of the host.
  void ListenOn(const char* address, uint16_t port) {
    host_->Run([&] {
      Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in at{};
      at.sin_family = AF_INET;
      at.sin_port = htons(port);
      ASSERT_EQ(inet_pton(AF_INET, address, &at.sin_addr), 1);
      ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
      ASSERT_EQ(listen(fd.get(), 1), 0);
      listeners_.emplace_back(port, std::move(fd));
    });
  }

  void Sysctl(const std::string& path, const std::string& value) {
    host_->Run([&] {
      std::ofstream file(absl::StrCat("/proc/sys/net/", path));
      file << value << std::flush;
      EXPECT_TRUE(file.good()) << path;
    });
  }

  Guard guard_{.enforce = true, .ports = {22}};
};

TEST_F(DoctorTest, ACleanHostHasNothing) { EXPECT_THAT(Examine(), IsEmpty()); }

TEST_F(DoctorTest, AFirewallThatLetsThePortInIsNothing) {
  Nft(*host_,
      "table inet filter { chain input { type filter hook input priority 0; policy drop;\n"
      "ct state vmap { established : accept, related : accept, invalid : drop }\n"
      "iif lo accept\n ip protocol icmp accept\n"
      "tcp dport { 22, 80, 8000-8010 } ct state new accept\n reject\n}\n}");
  EXPECT_THAT(Examine(), IsEmpty());
}

TEST_F(DoctorTest, ADroppingPolicyIsFound) {
  Nft(*host_,
      "table inet filter { chain input { type filter hook input priority 0; policy drop;\n"
      "ct state established,related accept\n iifname \"lo\" accept\n"
      "tcp dport { 80, 443 } accept\n udp dport 22 accept\n}\n}");
  EXPECT_THAT(Examine(),
              ElementsAre(Is(Severity::kCritical, "foreign-drop",
                             "The policy of chain input (table inet filter) drops TCP packets for "
                             "port 22.")));
}

TEST_F(DoctorTest, AnAcceptForSomeSourcesLeavesTheOthersOut) {
  Nft(*host_,
      "table ip filter { chain input { type filter hook input priority 0; policy drop;\n"
      "ip saddr 192.0.2.0/24 tcp dport 22 accept\n}\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kWarning, "foreign-drop",
                                        "drops IPv4 TCP packets for port 22 that the rules")));
}

TEST_F(DoctorTest, AnExplicitDropIsFoundWithItsHandle) {
  Nft(*host_,
      "table ip6 block { set ports { type inet_service; flags interval; elements = { 20-25 } }\n"
      "chain early { type filter hook prerouting priority -450; jump check; }\n"
      "chain check { tcp dport @ports reject with tcp reset; }\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kCritical, "foreign-drop", "Rule ")));
  EXPECT_THAT(Examine(),
              ElementsAre(Is(Severity::kCritical, "foreign-drop",
                             "of chain check (table ip6 block) rejects IPv6 TCP packets for port "
                             "22.")));
}

TEST_F(DoctorTest, AListOfBlockedAddressesIsANotice) {
  Nft(*host_,
      "table inet block { set bad { type ipv4_addr; elements = { 203.0.113.9 } }\n"
      "chain input { type filter hook input priority -10; ip saddr @bad drop; }\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kNotice, "foreign-drop", "drops some")));
}

TEST_F(DoctorTest, ADropAtIngressIsFound) {
  Nft(*host_,
      "table netdev edge { chain in { type filter hook ingress device friend0 priority 0; "
      "tcp dport 22 drop; }\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kCritical, "foreign-drop", "table netdev edge")));
}

TEST_F(DoctorTest, ADormantTableDoesNothing) {
  Nft(*host_,
      "table inet asleep { flags dormant; chain input { type filter hook input priority 0; "
      "policy drop; }\n}");
  EXPECT_THAT(Examine(), IsEmpty());
}

TEST_F(DoctorTest, ADropOfAPortThatNothingServesIsANotice) {
  guard_.ports = {22, 3389};
  Nft(*host_,
      "table inet filter { chain input { type filter hook input priority 0; policy drop;\n"
      "tcp dport 22 accept\n}\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kNotice, "foreign-drop", "for port 3389."),
                                     Is(Severity::kNotice, "no-listener", "port 3389")));
}

// As firewalld 1.3 writes them, shortened.
TEST_F(DoctorTest, FirewalldIsFoundWithItsZonesAndWhatItRejects) {
  Nft(*host_,
      "table inet firewalld {\n"
      "chain filter_IN_public_allow { tcp dport 80 accept\n }\n"
      "chain filter_IN_public { jump filter_IN_public_allow\n meta l4proto { icmp, ipv6-icmp } "
      "accept\n }\n"
      "chain filter_IN_home_allow { tcp dport 22 accept\n }\n"
      "chain filter_IN_home { jump filter_IN_home_allow\n }\n"
      "chain filter_INPUT_ZONES { iifname friend0 goto filter_IN_home\n goto filter_IN_public\n }\n"
      "chain filter_INPUT { type filter hook input priority filter + 10; policy accept;\n"
      "ct state { established, related } accept\n ct status dnat accept\n iifname lo accept\n"
      "ct state invalid drop\n jump filter_INPUT_ZONES\n reject with icmpx admin-prohibited\n }\n"
      "}");
  EXPECT_THAT(Examine(),
              ElementsAre(AllOf(Is(Severity::kWarning, "foreign-drop", "chain filter_INPUT"),
                                Field(&Finding::remedy, HasSubstr("firewall-cmd --permanent"))),
                          Is(Severity::kNotice, "firewalld", "zones home and public")));
}

TEST_F(DoctorTest, FirewalldsCheckOfTheWayBackIsFoundWithItsSetting) {
  Nft(*host_,
      "table inet firewalld { chain filter_PREROUTING { "
      "type filter hook prerouting priority filter + 10; policy accept;\n"
      "icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept\n"
      "meta nfproto ipv6 fib saddr . mark . iif oif missing drop\n }\n}");
  EXPECT_THAT(Examine(), ElementsAre(AllOf(Is(Severity::kNotice, "foreign-drop", "drops some IPv6"),
                                           Field(&Finding::remedy, HasSubstr("IPv6_rpfilter=no"))),
                                     Is(Severity::kNotice, "firewalld", "table inet firewalld")));
}

// As iptables-nft writes ufw's rules, shortened.
TEST_F(DoctorTest, UfwIsFoundAndWhatItDrops) {
  Nft(*host_,
      "table ip filter {\n"
      "chain ufw-user-input { tcp dport 80 counter accept\n }\n"
      "chain ufw-before-input { iifname lo counter accept\n ct state related,established counter "
      "accept\n jump ufw-user-input\n }\n"
      "chain INPUT { type filter hook input priority filter; policy drop;\n"
      "counter jump ufw-before-input\n }\n"
      "}");
  EXPECT_THAT(Examine(),
              ElementsAre(AllOf(Is(Severity::kCritical, "foreign-drop",
                                   "The policy of chain INPUT (table ip filter) drops IPv4"),
                                Field(&Finding::remedy, HasSubstr("ufw allow 22/tcp"))),
                          Is(Severity::kNotice, "ufw", "table ip filter")));
}

TEST_F(DoctorTest, APublishedGuardedPortIsFoundAndTheDropOnItsWay) {
  Nft(*host_,
      "table ip nat { chain DOCKER { iifname != docker0 tcp dport 22 counter dnat to "
      "172.17.0.2:2222; }\n"
      "chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local counter "
      "jump DOCKER; }\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kWarning, "published-port",
                                        "port 22 to port 2222 of 172.17.0.2"),
                                     Is(Severity::kNotice, "container-engine", "Docker")));
  std::map<uint16_t, uint16_t> mapped;
  host_->Run([&] { mapped = MappedPorts(ReadHost({22, 3389}), {22, 3389}); });
  EXPECT_THAT(mapped, ElementsAre(Pair(22, 2222)));
  Nft(*host_, "delete table ip nat");
  Nft(*host_,
      "table ip nat { chain PREROUTING { type nat hook prerouting priority dstnat; "
      "tcp dport 22 dnat to 172.17.0.2:2222; }\n}\n"
      "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; "
      "tcp dport 80 accept; }\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kCritical, "foreign-drop", "chain FORWARD"),
                                     Is(Severity::kWarning, "published-port", "port 22")));
}

TEST_F(DoctorTest, ARedirectToAGuardedPortIsADoorBesideTheGate) {
  Nft(*host_,
      "table ip side { chain pre { type nat hook prerouting priority dstnat; "
      "tcp dport 2222 redirect to :22; }\n}");
  EXPECT_THAT(Examine(),
              ElementsAre(Is(Severity::kCritical, "side-door", "leads port 2222 to port 22")));
}

TEST_F(DoctorTest, TranslationToAGuardedPortElsewhereIsANotice) {
  Nft(*host_,
      "table ip nat { chain pre { type nat hook prerouting priority dstnat; "
      "tcp dport 2222 dnat to 172.17.0.2:22; }\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kNotice, "side-door", "port 22 of 172.17.0.2")));
}

TEST_F(DoctorTest, RewritingAroundTheGateIsFound) {
  Nft(*host_,
      "table ip before { chain pre { type filter hook prerouting priority -300; "
      "tcp dport 22 tcp dport set 2222; }\n}");
  EXPECT_THAT(Examine(),
              ElementsAre(Is(Severity::kCritical, "header-rewrite", "before they come")));
  Nft(*host_, "delete table ip before");
  Nft(*host_,
      "table ip after { chain pre { type filter hook prerouting priority -150; "
      "udp dport 4000 udp dport set 22; }\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kCritical, "header-rewrite",
                                        "rewrites port 4000 to port 22")));
}

TEST_F(DoctorTest, MeddlingWithConnectionTrackingIsFound) {
  Nft(*host_,
      "table inet raw { chain pre { type filter hook prerouting priority raw; "
      "tcp dport 22 notrack; }\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kCritical, "notrack", "leaves the answers")));
  Nft(*host_,
      "add chain inet raw out { type filter hook output priority raw; }\n"
      "add rule inet raw out tcp sport 22 notrack");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kWarning, "notrack", "port 22")));
  Nft(*host_, "delete table inet raw");
  Nft(*host_,
      "table inet raw { chain pre { type filter hook prerouting priority raw; "
      "tcp dport 22 ct zone set 5; }\n}");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kCritical, "conntrack-zone", "port 22")));
  Nft(*host_,
      "add chain inet raw out { type filter hook output priority raw; }\n"
      "add rule inet raw out tcp sport 22 ct zone set 5");
  EXPECT_THAT(Examine(), IsEmpty());
}

TEST_F(DoctorTest, AServiceOnLoopbackOnlyIsFoundWithItsProcess) {
  listeners_.clear();
  ListenOn("127.0.0.1", 22);
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kWarning, "loopback-listener",
                                        "serves port 22 on 127.0.0.1 only")));
  EXPECT_THAT(Examine(), ElementsAre(Field(&Finding::finding,
                                           HasSubstr(absl::StrCat("(process ", getpid(), ")")))));
  ListenOn(kHost4, 22);
  EXPECT_THAT(Examine(), IsEmpty());
}

TEST_F(DoctorTest, NoServiceIsANotice) {
  listeners_.clear();
  EXPECT_THAT(Examine(),
              ElementsAre(Is(Severity::kNotice, "no-listener", "Nothing serves port 22.")));
}

TEST_F(DoctorTest, AMissingGateIsFound) {
  // While the agent lives, the kernel may refuse others its table.
  KillGate();
  Nft(*host_, "delete chain inet postern gate");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kCritical, "gate-missing", "inet postern")));
  Nft(*host_, "delete table inet postern");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kCritical, "gate-missing", "inet postern")));
}

TEST_F(DoctorTest, ObservingIsANotice) {
  guard_.enforce = false;
  EXPECT_THAT(Examine(), ElementsAre(Named("observe-mode")));
}

TEST_F(DoctorTest, Ipv6ThatIsSwitchedOffIsANotice) {
  Sysctl("ipv6/conf/all/disable_ipv6", "1");
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kNotice, "ipv6-disabled", "IPv6")));
}

TEST_F(DoctorTest, StrictConnectionTrackingIsANotice) {
  Sysctl("netfilter/nf_conntrack_tcp_loose", "0");
  EXPECT_THAT(Examine(), ElementsAre(Named("conntrack-strict")));
}

TEST_F(DoctorTest, TablesOfLegacyIptablesAreFound) {
  host_->Run([] {
    // Asking for a table makes it.
    const Fd raw(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    ipt_getinfo info = {};
    std::strncpy(info.name, "filter", sizeof info.name - 1);
    socklen_t size = sizeof info;
    ASSERT_EQ(getsockopt(raw.get(), IPPROTO_IP, IPT_SO_GET_INFO, &info, &size), 0)
        << std::strerror(errno);
  });
  EXPECT_THAT(Examine(), ElementsAre(Is(Severity::kWarning, "legacy-iptables", "filter")));
}

}  // namespace
}  // namespace postern

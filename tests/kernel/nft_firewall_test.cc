// The firewall against the kernel that runs the test, in namespaces of its own.

#include "agent/firewall/nft/nft_firewall.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "agent/firewall/builder.h"
#include "agent/firewall/nft/batch.h"
#include "agent/firewall/nft/capabilities.h"
#include "agent/firewall/nft/encode.h"
#include "agent/firewall/nft/socket.h"
#include "agent/firewall/nft/timeout.h"
#include "common/clock.h"
#include "tests/kernel/namespace.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr nft::Capabilities kMiddleKernel = {.destroys_elements = true, .updates_in_place = false};
constexpr nft::Capabilities kOldKernel = {};

const SetId kKeep32 = {Family::kIpv4, 32, Admission::kKeep};
const SetId kKeep24 = {Family::kIpv4, 24, Admission::kKeep};
const SetId kCut64 = {Family::kIpv6, 64, Admission::kCut};
const AccessKey kAlice = Key("203.0.113.7", 22);
const AccessKey kBob = Key("203.0.113.8", 22);

BootTime BootNow() { return SystemClock().Read().boot; }
BootTime In(absl::Duration duration) { return BootNow() + duration; }

absl::Duration Tick() { return absl::Seconds(1) / nft::ReadTimeoutClock().ticks_per_second; }

// A namespace with a firewall, in which the test's own thread never is.
class NftFirewallTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Namespace>> made = Namespace::Create();
    ASSERT_TRUE(made.ok()) << made.status();
    network_ = *std::move(made);
    Open(std::nullopt);
  }

  // Opens the firewall as one of a kernel that can only do this.
  void Open(const std::optional<nft::Capabilities>& kernel) {
    network_->Run([&] {
      auto opened = kernel.has_value() ? NftFirewall::Open(*kernel) : NftFirewall::Open();
      ASSERT_TRUE(opened.ok()) << opened.status();
      firewall_ = *std::move(opened);
    });
    ASSERT_NE(firewall_, nullptr);
  }

  void Commit(const Transaction& transaction) {
    EXPECT_EQ(firewall_->Commit(transaction), absl::OkStatus());
  }

  void Put(const AccessKey& key, absl::Duration duration) {
    Commit({PutElement{SetOf(key, Admission::kKeep), key, In(duration)}});
  }
  void Remove(const AccessKey& key) { Commit({RemoveElement{SetOf(key, Admission::kKeep), key}}); }

  std::vector<AccessKey> KeysIn(const SetId& set) {
    const auto elements = firewall_->ReadElements(set);
    EXPECT_TRUE(elements.ok()) << elements.status();
    std::vector<AccessKey> keys;
    if (elements.ok()) {
      for (const InstalledElement& element : *elements) keys.push_back(element.key);
    }
    return keys;
  }

  std::optional<InstalledElement> Read(const AccessKey& key) {
    const auto element = firewall_->ReadElement(SetOf(key, Admission::kKeep), key);
    EXPECT_TRUE(element.ok()) << element.status();
    return element.ok() ? *element : std::nullopt;
  }

  // The element is there and ends about then.
  void ExpectRemaining(const AccessKey& key, absl::Duration remaining) {
    const std::optional<InstalledElement> element = Read(key);
    ASSERT_TRUE(element.has_value()) << key.ToString();
    EXPECT_LE(element->remaining, remaining + 3 * Tick());
    EXPECT_GE(element->remaining, remaining - absl::Seconds(10));
  }

  uint64_t Packets(const char* counter) {
    const auto value = firewall_->ReadCounter(counter);
    EXPECT_TRUE(value.ok()) << value.status();
    return value.ok() ? value->packets : 0;
  }

  std::unique_ptr<Namespace> network_;
  std::unique_ptr<NftFirewall> firewall_;
};

TEST_F(NftFirewallTest, TheTrialOfTheKernelLeavesNothingBehind) {
  EXPECT_TRUE(firewall_->capabilities().destroys_elements ||
              !firewall_->capabilities().updates_in_place);
  EXPECT_EQ(*firewall_->HasTable(), false);
}

TEST_F(NftFirewallTest, TheTableIsReplacedWhateverItHeld) {
  Commit({ReplaceTable{}});
  EXPECT_EQ(*firewall_->HasTable(), true);
  Commit({AddSet{kKeep32}, AddChain{"gate", BaseHook{Hook::kPrerouting, -160}}});
  Put(kAlice, absl::Hours(1));
  EXPECT_THAT(firewall_->ReadSets().value(), UnorderedElementsAre(kKeep32));
  Commit({ReplaceTable{}, AddSet{kKeep24}});
  EXPECT_THAT(firewall_->ReadSets().value(), UnorderedElementsAre(kKeep24));
  EXPECT_EQ(firewall_->ReadElements(kKeep32).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(NftFirewallTest, WithoutATableThereIsNothingToRead) {
  EXPECT_EQ(*firewall_->HasTable(), false);
  EXPECT_THAT(firewall_->ReadSets().value(), IsEmpty());
  EXPECT_THAT(firewall_->ReadOlderFlows().value(), IsEmpty());
  EXPECT_EQ(Read(kAlice), std::nullopt);
  const absl::Status status = firewall_->ReadCounter("dropped").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("read counter dropped: No such file or directory"));
}

TEST_F(NftFirewallTest, AnEmptyTransactionSucceeds) { Commit({}); }

TEST_F(NftFirewallTest, OlderFlowsAreReadBack) {
  const std::vector<Flow> flows = {{A("203.0.113.7"), 50000, A("192.0.2.1"), 22},
                                   {A("203.0.113.7"), 50001, A("192.0.2.1"), 3389},
                                   {A("2001:db8::7"), 50000, A("2001:db8::1"), 22}};
  Commit(BuildTable(GateOptions(), {}, flows));
  EXPECT_THAT(firewall_->ReadOlderFlows().value(), testing::UnorderedElementsAreArray(flows));
}

TEST_F(NftFirewallTest, TheWholeGateIsTaken) {
  const GateOptions options = {.ports = {22, 3389, 5985, 5986},
                               .trusted_interfaces = {"lo"},
                               .always_allow = {P("192.0.2.0/24"), P("2001:db8::/32")},
                               .own_port = OwnPort{7443, {P("192.0.2.0/24")}}};
  Commit(BuildTable(options, {kKeep32}, {}));
  EXPECT_THAT(firewall_->ReadSets().value(), UnorderedElementsAre(kKeep32));
  SetChange change = ChangeSets(options, {kKeep32}, {kKeep24, kCut64});
  Transaction all = change.before_elements;
  all.emplace_back(PutElement{kCut64, Key("2001:db8:1::/64", 22), In(absl::Hours(1))});
  all.insert(all.end(), change.after_elements.begin(), change.after_elements.end());
  Commit(all);
  EXPECT_THAT(firewall_->ReadSets().value(), UnorderedElementsAre(kKeep24, kCut64));
  EXPECT_THAT(KeysIn(kCut64), UnorderedElementsAre(Key("2001:db8:1::/64", 22)));
  // nft(8) ends with a signal on some of what the kernel takes; so would the
  // service that loads the host's own rules.
  EXPECT_EQ(network_->Program({"nft", "list", "ruleset"}), absl::OkStatus());
}

// ---- Elements, on this kernel and as on older ones -------------------------

struct KernelCase {
  const char* name;
  std::optional<nft::Capabilities> kernel;
};

class NftElementsTest : public NftFirewallTest, public testing::WithParamInterface<KernelCase> {
 protected:
  void SetUp() override {
    NftFirewallTest::SetUp();
    if (HasFatalFailure()) return;
    Open(GetParam().kernel);
    if (HasFatalFailure()) return;
    Commit({ReplaceTable{}, AddSet{kKeep32}, AddSet{kKeep24}, AddSet{kCut64}});
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, NftElementsTest,
                         testing::Values(KernelCase{"ThisKernel", std::nullopt},
                                         KernelCase{"Linux6_3", kMiddleKernel},
                                         KernelCase{"Linux6_1", kOldKernel}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(NftElementsTest, WhatIsPutIsReadBack) {
  const AccessKey alice6 = Key("2001:db8:1::/64", 3389, Protocol::kUdp);
  Commit({PutElement{kKeep32, kAlice, In(absl::Hours(3))},
          PutElement{kCut64, alice6, In(absl::Minutes(5))}});
  EXPECT_THAT(KeysIn(kKeep32), UnorderedElementsAre(kAlice));
  EXPECT_THAT(KeysIn(kCut64), UnorderedElementsAre(alice6));
  EXPECT_THAT(KeysIn(kKeep24), IsEmpty());
  ExpectRemaining(kAlice, absl::Hours(3));
  const InstalledElement element = *Read(kAlice);
  EXPECT_EQ(element.key, kAlice);
  EXPECT_EQ(element.counter.packets, 0U);
}

TEST_P(NftElementsTest, TheEndMovesBothWays) {
  Put(kAlice, absl::Minutes(10));
  Put(kAlice, absl::Hours(2));
  ExpectRemaining(kAlice, absl::Hours(2));
  Put(kAlice, absl::Minutes(1));
  ExpectRemaining(kAlice, absl::Minutes(1));
  EXPECT_THAT(KeysIn(kKeep32), UnorderedElementsAre(kAlice));
}

TEST_P(NftElementsTest, TheLastOfSeveralEndsInATransactionHolds) {
  Commit({PutElement{kKeep32, kAlice, In(absl::Hours(2))},
          PutElement{kKeep32, kBob, In(absl::Hours(2))},
          PutElement{kKeep32, kAlice, In(absl::Minutes(1))}});
  ExpectRemaining(kAlice, absl::Minutes(1));
  ExpectRemaining(kBob, absl::Hours(2));
}

TEST_P(NftElementsTest, RemovedIsGone) {
  Put(kAlice, absl::Hours(1));
  Put(kBob, absl::Hours(1));
  Remove(kAlice);
  EXPECT_THAT(KeysIn(kKeep32), UnorderedElementsAre(kBob));
  EXPECT_EQ(Read(kAlice), std::nullopt);
}

TEST_P(NftElementsTest, RemovingWhatIsNotThereIsNoError) {
  Remove(kAlice);
  Commit({RemoveElement{kKeep32, kAlice}, RemoveElement{kKeep32, kAlice}});
  EXPECT_THAT(KeysIn(kKeep32), IsEmpty());
}

TEST_P(NftElementsTest, PutAndRemovedInOneTransactionIsGone) {
  Commit({PutElement{kKeep32, kAlice, In(absl::Hours(1))}, RemoveElement{kKeep32, kAlice},
          PutElement{kKeep32, kBob, In(absl::Hours(1))}});
  EXPECT_THAT(KeysIn(kKeep32), UnorderedElementsAre(kBob));
}

TEST_P(NftElementsTest, AnEndThatHasPassedClosesWhatIsThere) {
  Put(kAlice, absl::Hours(1));
  Put(kAlice, -absl::Seconds(1));
  Put(kBob, -absl::Seconds(1));
  EXPECT_THAT(KeysIn(kKeep32), IsEmpty());
}

TEST_P(NftElementsTest, AnElementEndsByItselfOnTime) {
  const absl::Duration tick = Tick();
  for (int i = 0; i < 10; ++i) {
    const BootTime end = In(absl::Milliseconds(20) + absl::Microseconds(700) * i);
    Commit({PutElement{kKeep32, kAlice, end}});
    BootTime last_seen;
    while (true) {
      const BootTime before = BootNow();
      if (!Read(kAlice).has_value()) break;
      last_seen = before;
      ASSERT_LT(before, end + absl::Seconds(5));
    }
    EXPECT_GE(BootNow(), end) << "ended early";
    // Other work on the machine can delay the clock's tick itself.
    EXPECT_LE(last_seen, end + 2 * tick + absl::Milliseconds(30)) << "ended late";
    EXPECT_THAT(KeysIn(kKeep32), IsEmpty());
    // It may still wait to be collected.
    if (i % 2 == 0) Remove(kAlice);
  }
}

TEST_P(NftElementsTest, AnExpiredElementCanBePutAgain) {
  const BootTime end = In(absl::Milliseconds(5));
  Commit({PutElement{kKeep32, kAlice, end}});
  while (Read(kAlice).has_value()) ASSERT_LT(BootNow(), end + absl::Seconds(5));
  Put(kAlice, absl::Hours(1));
  ExpectRemaining(kAlice, absl::Hours(1));
}

TEST_P(NftElementsTest, ManyElementsAreOneTransaction) {
  // Unprivileged, the kernel lends no larger send buffer.
  const size_t count = IsPrivileged() ? 10'000 : 2'000;
  Transaction transaction;
  const BootTime end = In(absl::Hours(1));
  for (size_t i = 0; i < count; ++i) {
    AccessKey key = kAlice;
    key.source.address.bytes[2] = static_cast<uint8_t>(i >> 8);
    key.source.address.bytes[3] = static_cast<uint8_t>(i & 0xff);
    transaction.emplace_back(PutElement{kKeep32, key, end});
  }
  Commit(transaction);
  const auto elements = firewall_->ReadElements(kKeep32);
  ASSERT_TRUE(elements.ok()) << elements.status();
  EXPECT_EQ(elements->size(), count);
  for (const InstalledElement& element : *elements) {
    EXPECT_LE(element.remaining, end - BootNow() + absl::Seconds(1));
  }
  for (Operation& operation : transaction) {
    operation = RemoveElement{kKeep32, std::get<PutElement>(operation).key};
  }
  Commit(transaction);
  EXPECT_THAT(KeysIn(kKeep32), IsEmpty());
}

// A batch that takes the kernel many ticks would end its last elements that
// many ticks late.
TEST_P(NftElementsTest, TheLastOfManyEndsNoLaterThanTheFirst) {
  const size_t count = IsPrivileged() ? 10'000 : 2'000;
  const BootTime end = In(absl::Seconds(1000));
  Transaction transaction;
  for (size_t i = 0; i < count; ++i) {
    AccessKey key = kAlice;
    key.port = static_cast<uint16_t>(i + 1);
    transaction.emplace_back(PutElement{kKeep32, key, end});
  }
  transaction.emplace_back(RemoveElement{kKeep32, Key("203.0.113.7", 1)});
  Commit(transaction);
  EXPECT_EQ(Read(Key("203.0.113.7", 1)), std::nullopt);
  for (size_t i = 1; i < count; i += count / 20) {
    AccessKey key = kAlice;
    key.port = static_cast<uint16_t>(i + 1);
    const BootTime before = BootNow();
    const std::optional<InstalledElement> element = Read(key);
    ASSERT_TRUE(element.has_value());
    EXPECT_GE(BootNow() + element->remaining, end - Tick());
    // What remains is told in ticks, so that it can seem one more; and other work
    // on the machine can get between.
    EXPECT_LE(before + element->remaining, end + 3 * Tick() + absl::Milliseconds(8)) << i;
  }
}

// ---- Refusals ----------------------------------------------------------------

TEST_P(NftElementsTest, ABatchWithOneBadOperationChangesNothing) {
  const SetId missing = {Family::kIpv4, 16, Admission::kCut};
  Put(kAlice, absl::Hours(1));
  struct {
    Transaction transaction;
    const char* message;
  } const cases[] = {
      {{PutElement{kKeep32, kBob, In(absl::Hours(1))}, DeleteSet{missing}},
       "delete set cut4_16: No such file or directory (errno 2)"},
      {{RemoveElement{kKeep32, kAlice}, PutElement{kKeep32, kBob, In(absl::Hours(1))},
        AddRule{{"nowhere", {Accept{}}}}},
       "add rule to chain nowhere: No such file or directory (errno 2)"},
      {{FlushChain{"nowhere"}, ReplaceTable{}},
       "flush chain nowhere: No such file or directory (errno 2)"},
      {{PutElement{kKeep32, kBob, In(absl::Hours(1))},
        PutElement{missing, Key("203.0.0.0/16", 22), In(absl::Hours(1))}},
       "to set cut4_16: No such file or directory (errno 2)"},
      {{ReplaceTable{}, AddSet{kCut64}, AddRule{{"gate", {Lookup{"cut4_16"}}}}},
       "add rule to chain gate: No such file or directory (errno 2)"},
  };
  for (const auto& test : cases) {
    const absl::Status status = firewall_->Commit(test.transaction);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.message));
    EXPECT_THAT(KeysIn(kKeep32), UnorderedElementsAre(kAlice));
    EXPECT_THAT(firewall_->ReadSets().value(), UnorderedElementsAre(kKeep32, kKeep24, kCut64));
  }
  // Answers to refused batches do not disturb the next one.
  Put(kBob, absl::Hours(1));
  EXPECT_THAT(KeysIn(kKeep32), UnorderedElementsAre(kAlice, kBob));
}

// Of the elements in one message, the kernel says which it refuses.
TEST_F(NftFirewallTest, ARefusalNamesTheElement) {
  Commit({ReplaceTable{}, AddSet{kKeep32}});
  Put(kAlice, absl::Hours(1));
  std::unique_ptr<nft::Socket> socket;
  network_->Run([&] { socket = *nft::Socket::Open(); });
  // Adding does not fail for one element alone, but deleting does.
  const Transaction transaction = {PutElement{kKeep32, kAlice, In(absl::Hours(1))},
                                   PutElement{kKeep32, kBob, In(absl::Hours(1))}};
  nft::Batch batch;
  ASSERT_EQ(nft::Encode(transaction, firewall_->capabilities(), nft::ReadTimeoutClock(),
                        socket->TakeSequences(3), batch),
            absl::OkStatus());
  ASSERT_EQ(batch.size(), 1U);
  const nlmsghdr* begin = nft::MessageAt(batch.bytes().data());
  const nlmsghdr* message = nft::MessageAt(batch.bytes().data() + begin->nlmsg_len);
  const_cast<nlmsghdr*>(message)->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM;
  const auto refused = socket->Transact(batch);
  ASSERT_TRUE(refused.ok()) << refused.status();
  ASSERT_TRUE(refused->has_value());
  EXPECT_EQ((*refused)->number, ENOENT);
  EXPECT_EQ(batch.OperationOf((*refused)->sequence, (*refused)->offset), 1U);
}

TEST_F(NftFirewallTest, ThousandsOfRefusalsAreOneError) {
  Commit({ReplaceTable{}});
  Transaction transaction;
  for (int i = 0; i < 5000; ++i) transaction.emplace_back(FlushChain{absl::StrCat("c", i)});
  const absl::Status status = firewall_->Commit(transaction);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("flush chain c0: "));
  Commit({AddSet{kKeep32}});
}

TEST_F(NftFirewallTest, WithoutTheCapabilityThePermissionIsMissing) {
  absl::Status opened;
  network_->Run([&] {
    // Those of this thread alone, which ends with this.
    __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    ASSERT_EQ(syscall(SYS_capset, &header, none), 0);
    opened = NftFirewall::Open().status();
  });
  EXPECT_EQ(opened.code(), absl::StatusCode::kPermissionDenied) << opened;
}

// ---- Real packets -----------------------------------------------------------

// A UDP socket that sends to the guarded host and counts what comes back.
class Peer {
 public:
  // Inside the namespace of the calling thread.
  explicit Peer(uint16_t port) : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval timeout = {.tv_sec = 5, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() { close(fd_); }

  void Send(const char* to, uint16_t port) const {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, to, &address.sin_addr);
    EXPECT_EQ(sendto(fd_, "x", 1, 0, reinterpret_cast<sockaddr*>(&address), sizeof address), 1);
  }

  // True when a packet arrives before the timeout.
  bool Receive() const {
    char byte = 0;
    return recv(fd_, &byte, 1, 0) == 1;
  }

 private:
  int fd_;
};

class NftPacketsTest : public NftFirewallTest {
 protected:
  void SetUp() override {
    NftFirewallTest::SetUp();
    if (HasFatalFailure()) return;
    absl::StatusOr<std::unique_ptr<Namespace>> made = Namespace::Create();
    ASSERT_TRUE(made.ok()) << made.status();
    client_network_ = *std::move(made);
    ASSERT_EQ(network_->Connect("eth0", *client_network_, "eth0"), absl::OkStatus());
    ASSERT_EQ(network_->AddAddress("eth0", "192.0.2.1/24"), absl::OkStatus());
    ASSERT_EQ(client_network_->AddAddress("eth0", "192.0.2.2/24"), absl::OkStatus());
    network_->Run([&] { server_ = std::make_unique<Peer>(7000); });
    client_network_->Run([&] { client_ = std::make_unique<Peer>(50000); });
  }

  // Sends to the server, and waits until the packet has been there.
  void SendAndArrive() {
    client_->Send("192.0.2.1", 7000);
    EXPECT_TRUE(server_->Receive());
  }

  std::unique_ptr<Namespace> client_network_;
  std::unique_ptr<Peer> server_;
  std::unique_ptr<Peer> client_;
};

std::vector<Expression> LookupClient(const SetId& set) {
  return {LoadPayload{PayloadBase::kNetwork, 12, 4, 0},
          Mask{0, {255, 255, 255, static_cast<uint8_t>(set.prefix_length == 32 ? 255 : 0)}},
          LoadMeta{MetaKey::kL4Protocol, 1}, LoadPayload{PayloadBase::kTransport, 2, 2, 2},
          Lookup{set.Name()}};
}

Rule Then(std::vector<Expression> matches, const std::vector<Expression>& actions) {
  matches.insert(matches.end(), actions.begin(), actions.end());
  return Rule{.chain = "gate", .expressions = matches};
}

TEST_F(NftPacketsTest, ElementsCountTheirPackets) {
  const AccessKey key = Key("192.0.2.0/24", 7000, Protocol::kUdp);
  Commit(
      {ReplaceTable{}, AddCounter{"passed"}, AddSet{kKeep24},
       AddChain{"gate", BaseHook{Hook::kPrerouting, -160}},
       AddRule{Then(LookupClient(kKeep24), {Count{"passed"}, Accept{}})},
       AddRule{Then({LoadMeta{MetaKey::kL4Protocol}, Compare{0, true, {IPPROTO_UDP}}}, {Drop{}})}});
  client_->Send("192.0.2.1", 7000);
  Put(key, absl::Hours(1));
  EXPECT_EQ(Read(key)->counter.packets, 0U);
  for (int i = 0; i < 3; ++i) SendAndArrive();
  const InstalledElement element = *Read(key);
  EXPECT_EQ(element.counter.packets, 3U);
  // IPv4 and UDP headers and one byte.
  EXPECT_EQ(element.counter.bytes, 3U * (20 + 8 + 1));
  EXPECT_EQ(Packets("passed"), 3U);
  EXPECT_EQ(firewall_->ReadElements(kKeep24)->front().counter.packets, 3U);

  if (firewall_->capabilities().updates_in_place) {
    Put(key, absl::Hours(2));
    EXPECT_EQ(Read(key)->counter.packets, 3U);
  }
}

TEST_F(NftPacketsTest, AccessEndsWithTheElement) {
  const AccessKey key = Key("192.0.2.2", 7000, Protocol::kUdp);
  Commit({ReplaceTable{}, AddCounter{"dropped"}, AddSet{kKeep32},
          AddChain{"gate", BaseHook{Hook::kPrerouting, -160}},
          AddRule{Then(LookupClient(kKeep32), {Accept{}})},
          AddRule{Then({LoadMeta{MetaKey::kL4Protocol}, Compare{0, true, {IPPROTO_UDP}}},
                       {Count{"dropped"}, Drop{}})}});
  const BootTime end = In(absl::Milliseconds(100));
  Commit({PutElement{kKeep32, key, end}});
  SendAndArrive();
  // Each packet raises one of two counters before send returns: veth hands it on
  // at once, or soon after.
  BootTime last_passed;
  while (Packets("dropped") == 0) {
    const BootTime sent = BootNow();
    client_->Send("192.0.2.1", 7000);
    if (Packets("dropped") == 0) last_passed = sent;
    ASSERT_LT(sent, end + absl::Seconds(5));
  }
  EXPECT_GE(BootNow(), end) << "ended early";
  EXPECT_LE(last_passed, end + 2 * Tick() + absl::Milliseconds(30)) << "ended late";
}

TEST_F(NftPacketsTest, TheCutLabelStaysWithTheConnection) {
  Commit({ReplaceTable{}, AddCounter{"labelled"}, AddCounter{"answered"}, AddCounter{"first"},
          AddChain{"gate", BaseHook{Hook::kPrerouting, -160}},
          AddChain{"reply", BaseHook{Hook::kPostrouting, -160}},
          AddRule{{"gate",
                   {LoadCt{CtKey::kLabel}, Mask{0, CutLabel()}, Compare{0, true, CutLabel()},
                    Count{"labelled"}, Accept{}}}},
          AddRule{{"gate",
                   {LoadMeta{MetaKey::kL4Protocol}, Compare{0, true, {IPPROTO_UDP}}, SetCutLabel{},
                    Count{"first"}}}},
          AddRule{{"reply",
                   {LoadCt{CtKey::kLabel}, Mask{0, CutLabel()}, Compare{0, true, CutLabel()},
                    LoadCt{CtKey::kDirection}, Compare{0, true, {1}}, Count{"answered"}}}}});
  for (int i = 0; i < 3; ++i) SendAndArrive();
  server_->Send("192.0.2.2", 50000);
  EXPECT_TRUE(client_->Receive());
  EXPECT_EQ(Packets("first"), 1U);
  EXPECT_EQ(Packets("labelled"), 2U);
  EXPECT_EQ(Packets("answered"), 1U);
}

// Every expression loads what its name says, seen with one packet's values.
TEST_F(NftPacketsTest, ExpressionsLoadWhatTheySay) {
  Bytes interface(16, 0);
  std::memcpy(interface.data(), "eth0", 4);
  const auto host_order = [](uint32_t value) {
    Bytes bytes(sizeof value);
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
  };
  constexpr uint32_t kStateNew = 8;
  constexpr uint32_t kTypeLocal = 2;
  constexpr uint32_t kTypeUnicast = 1;
  const std::vector<std::vector<Expression>> holding = {
      {LoadMeta{MetaKey::kInputInterface}, Compare{0, true, interface}},
      {LoadMeta{MetaKey::kInputInterface, 3}, Lookup{"trusted", 3}},
      {LoadMeta{MetaKey::kNfProtocol}, Compare{0, true, {2}}},
      {LoadMeta{MetaKey::kL4Protocol}, Compare{0, true, {17}}},
      {LoadPayload{PayloadBase::kTransport, 0, 2, 15}, Compare{15, true, {0xc3, 0x50}}},
      {LoadPayload{PayloadBase::kNetwork, 12, 4}, Mask{0, {255, 0, 0, 255}},
       Compare{0, true, {192, 0, 0, 2}}},
      {LoadCt{CtKey::kState}, Compare{0, true, host_order(kStateNew)}},
      {LoadCt{CtKey::kDirection}, Compare{0, true, {0}}},
      {LoadCt{CtKey::kProtocol}, Compare{0, true, {17}}},
      {LoadCt{CtKey::kOriginalSource}, Compare{0, true, {192, 0, 2, 2}}},
      {LoadCt{CtKey::kOriginalPort}, Compare{0, true, {0x1b, 0x58}}},
      {LoadFibType{FibAddress::kDestination}, Compare{0, true, host_order(kTypeLocal)}},
      {LoadFibType{FibAddress::kSource}, Compare{0, true, host_order(kTypeUnicast)}},
      {LoadMeta{MetaKey::kL4Protocol}, Compare{0, false, {6}}},
      {LoadMeta{MetaKey::kOutputInterface, 3}, Lookup{"trusted", 3, true}},
  };
  Transaction transaction = {ReplaceTable{}, AddConstantSet{"trusted", 16, 41, {interface}},
                             AddChain{"gate", BaseHook{Hook::kPrerouting, -160}},
                             AddChain{"udp", std::nullopt}};
  for (size_t i = 0; i < holding.size(); ++i) {
    transaction.emplace_back(AddCounter{absl::StrCat("c", i)});
    transaction.emplace_back(AddRule{
        Then({LoadMeta{MetaKey::kL4Protocol, 8}, Compare{8, true, {IPPROTO_UDP}}}, holding[i])});
    std::get<AddRule>(transaction.back())
        .rule.expressions.emplace_back(Count{absl::StrCat("c", i)});
  }
  Commit(transaction);
  SendAndArrive();
  for (size_t i = 0; i < holding.size(); ++i) {
    EXPECT_EQ(Packets(absl::StrCat("c", i).c_str()), 1U) << i;
  }
}

TEST_F(NftPacketsTest, JumpsComeBackAndGotosDoNot) {
  Commit({ReplaceTable{}, AddCounter{"jumped"}, AddCounter{"back"}, AddCounter{"gone"},
          AddChain{"a", std::nullopt}, AddChain{"b", std::nullopt},
          AddChain{"gate", BaseHook{Hook::kPrerouting, -160}}, AddRule{{"a", {Count{"jumped"}}}},
          AddRule{{"b", {Count{"gone"}}}},
          AddRule{{"gate",
                   {LoadMeta{MetaKey::kL4Protocol}, Compare{0, false, {IPPROTO_UDP}}, Accept{}}}},
          AddRule{{"gate", {Jump{"a"}}}}, AddRule{{"gate", {Count{"back"}}}},
          AddRule{{"gate", {Goto{"b"}}}}, AddRule{{"gate", {Count{"back"}}}}});
  SendAndArrive();
  EXPECT_EQ(Packets("jumped"), 1U);
  EXPECT_EQ(Packets("gone"), 1U);
  EXPECT_EQ(Packets("back"), 1U);
  // Flushed, the chain decides nothing any more.
  Commit({FlushChain{"gate"}});
  SendAndArrive();
  EXPECT_EQ(Packets("jumped"), 1U);
}

}  // namespace
}  // namespace postern

// Rules of the firewall and real packets.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/kernel/nft_fixture.h"

namespace postern {
namespace {

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

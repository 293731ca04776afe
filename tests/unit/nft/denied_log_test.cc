// Who knocked, by the first bytes of a packet.

#include "agent/firewall/nft/denied_log.h"

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>

#include <array>
#include <vector>

#include "tests/support/grants.h"

namespace postern {
namespace {

using Packet = std::vector<uint8_t>;

// 203.0.113.7 to 192.0.2.1 port 22; `options` are bytes of IP options.
Packet Ipv4(uint8_t protocol, size_t options = 0) {
  Packet packet(20 + options, 0);
  packet[0] = static_cast<uint8_t>(0x45 + options / 4);
  packet[9] = protocol;
  const uint8_t source[] = {203, 0, 113, 7};
  std::copy(std::begin(source), std::end(source), packet.begin() + 12);
  packet.insert(packet.end(), {0xc3, 0x50, 0, 22});
  return packet;
}

// 2001:db8::7 to port 3389, with the extension headers `extensions` before it.
Packet Ipv6(uint8_t protocol, const std::vector<uint8_t>& extensions = {}) {
  Packet packet(40, 0);
  packet[0] = 0x60;
  packet[6] = extensions.empty() ? protocol : extensions[0];
  const uint8_t source[] = {0x20, 0x01, 0x0d, 0xb8};
  std::copy(std::begin(source), std::end(source), packet.begin() + 8);
  packet[23] = 7;
  for (size_t i = 0; i < extensions.size(); ++i) {
    // Of 16 bytes.
    Packet extension(16, 0);
    extension[0] = i + 1 < extensions.size() ? extensions[i + 1] : protocol;
    extension[1] = 1;
    packet.insert(packet.end(), extension.begin(), extension.end());
  }
  packet.insert(packet.end(), {0xc3, 0x50, 0x0d, 0x3d});
  return packet;
}

TEST(ParseKnockTest, ReadsSourceProtocolAndPort) {
  EXPECT_EQ(nft::ParseKnock(Ipv4(6)), Key("203.0.113.7", 22));
  EXPECT_EQ(nft::ParseKnock(Ipv4(17, 8)), Key("203.0.113.7", 22, Protocol::kUdp));
  EXPECT_EQ(nft::ParseKnock(Ipv6(6)), Key("2001:db8::7", 3389));
  EXPECT_EQ(nft::ParseKnock(Ipv6(17, {0, 60})), Key("2001:db8::7", 3389, Protocol::kUdp));
}

TEST(ParseKnockTest, OtherProtocolsAreNoKnock) {
  EXPECT_EQ(nft::ParseKnock(Ipv4(1)), std::nullopt);
  EXPECT_EQ(nft::ParseKnock(Ipv6(58)), std::nullopt);
  Packet neither = Ipv4(6);
  neither[0] = 0x55;
  EXPECT_EQ(nft::ParseKnock(neither), std::nullopt);
}

TEST(ParseKnockTest, ACutPacketIsNoKnock) {
  for (const Packet& whole : {Ipv4(6), Ipv4(6, 8), Ipv6(6), Ipv6(6, {0, 43, 60})}) {
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_EQ(nft::ParseKnock(absl::MakeConstSpan(whole).subspan(0, size)), std::nullopt) << size;
    }
  }
}

TEST(ParseKnockTest, LengthsThatLeadNowhereAreNoKnock) {
  Packet short_header = Ipv4(6);
  short_header[0] = 0x44;
  EXPECT_EQ(nft::ParseKnock(short_header), std::nullopt);
  Packet long_extension = Ipv6(6, {0});
  long_extension[41] = 255;
  EXPECT_EQ(nft::ParseKnock(long_extension), std::nullopt);
  // More extensions than anybody sends.
  EXPECT_EQ(nft::ParseKnock(Ipv6(6, std::vector<uint8_t>(9, 60))), std::nullopt);
}

TEST(ParseLoggedTest, TakesThePacketOutOfTheKernelsMessage) {
  alignas(nlmsghdr) std::array<char, 512> buffer = {};
  nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
  message->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET;
  mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg));
  mnl_attr_put_u32(message, NFULA_MARK, 1);
  EXPECT_TRUE(nft::ParseLogged(*message).empty());
  const Packet packet = Ipv4(6);
  mnl_attr_put(message, NFULA_PAYLOAD, packet.size(), packet.data());
  EXPECT_EQ(nft::ParseLogged(*message), absl::MakeConstSpan(packet));
  message->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFULNL_MSG_PACKET;
  EXPECT_TRUE(nft::ParseLogged(*message).empty());
}

}  // namespace
}  // namespace postern

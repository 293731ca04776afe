// What the kernel sends is outside bytes: whole messages are read right, and
// messages cut off at any byte are refused, never read beyond their end (the
// sanitizers would tell).

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "agent/sessions/conntrack.h"
#include "agent/sessions/local_addresses.h"
#include "agent/sessions/sock_diag.h"

namespace postern {
namespace {

Address A(absl::string_view text) { return Address::Parse(text).value(); }

// A message in memory of its own, so that reading behind it is caught.
class Message {
 public:
  explicit Message(const std::function<void(nlmsghdr*)>& build) {
    std::vector<uint64_t> space(128);
    nlmsghdr* header = mnl_nlmsg_put_header(space.data());
    build(header);
    Copy(header, header->nlmsg_len);
  }
  // The first `size` bytes of `whole`, as a message that says so.
  Message(const Message& whole, uint32_t size) {
    Copy(whole.bytes_.get(), size);
    header().nlmsg_len = size;
  }

  nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(bytes_.get()); }
  uint32_t size() { return header().nlmsg_len; }

 private:
  void Copy(const void* from, size_t size) {
    bytes_ = std::make_unique<char[]>(size);
    std::memcpy(bytes_.get(), from, size);
  }

  std::unique_ptr<char[]> bytes_;
};

void PutTuple(nlmsghdr* message, uint16_t type, const Address& source, uint16_t source_port,
              const Address& destination, uint16_t destination_port, uint8_t protocol = 6) {
  const bool six = source.family == Family::kIpv6;
  nlattr* tuple = mnl_attr_nest_start(message, type);
  nlattr* ip = mnl_attr_nest_start(message, CTA_TUPLE_IP);
  mnl_attr_put(message, six ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, source.size(), source.bytes.data());
  mnl_attr_put(message, six ? CTA_IP_V6_DST : CTA_IP_V4_DST, destination.size(),
               destination.bytes.data());
  mnl_attr_nest_end(message, ip);
  nlattr* ports = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(message, CTA_PROTO_NUM, protocol);
  mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(source_port));
  mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(destination_port));
  mnl_attr_nest_end(message, ports);
  mnl_attr_nest_end(message, tuple);
}

Message Entry(uint8_t protocol, const Bytes& label) {
  return Message([&](nlmsghdr* message) {
    mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg));
    PutTuple(message, CTA_TUPLE_ORIG, A("198.51.100.9"), 40000, A("192.0.2.1"), 22, protocol);
    PutTuple(message, CTA_TUPLE_REPLY, A("172.17.0.2"), 2222, A("198.51.100.9"), 40000, protocol);
    mnl_attr_put_u32(message, CTA_ID, 0x01020304);
    if (!label.empty()) mnl_attr_put(message, CTA_LABELS, label.size(), label.data());
  });
}

TEST(ParseConntrackEntryTest, ReadsBothDirectionsAndTheLabel) {
  Message message = Entry(6, CutLabel());
  const auto entry = ParseConntrackEntry(message.header());
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->flow.protocol, Protocol::kTcp);
  EXPECT_EQ(entry->flow.sent, (Flow{A("198.51.100.9"), 40000, A("192.0.2.1"), 22}));
  EXPECT_EQ(entry->flow.served, (Flow{A("198.51.100.9"), 40000, A("172.17.0.2"), 2222}));
  EXPECT_TRUE(entry->flow.cut);
}

TEST(ParseConntrackEntryTest, OtherLabelsAreNotTheCutLabel) {
  Bytes others(16, 0xff);
  others[kCutLabelBit / 8] &= static_cast<uint8_t>(~CutLabel()[kCutLabelBit / 8]);
  for (const Bytes& label : {Bytes{}, Bytes(4, 0xff), others}) {
    Message message = Entry(6, label);
    const auto entry = ParseConntrackEntry(message.header());
    ASSERT_TRUE(entry.has_value());
    EXPECT_FALSE(entry->flow.cut);
  }
}

TEST(ParseConntrackEntryTest, OtherProtocolsAreLeftOut) {
  EXPECT_TRUE(ParseConntrackEntry(Entry(17, {}).header()).has_value());
  EXPECT_FALSE(ParseConntrackEntry(Entry(1, {}).header()).has_value());
  EXPECT_FALSE(ParseConntrackEntry(Entry(132, {}).header()).has_value());
}

TEST(ParseConntrackEntryTest, CutOffMessagesAreRefused) {
  Message whole = Entry(6, {});
  const auto wanted = ParseConntrackEntry(whole.header());
  for (uint32_t size = NLMSG_HDRLEN; size < whole.size(); ++size) {
    Message part(whole, size);
    const auto entry = ParseConntrackEntry(part.header());
    // Nothing but the id stands behind the tuples.
    if (entry.has_value()) {
      EXPECT_EQ(entry->name, wanted->name) << size;
    }
  }
}

TEST(ParseConntrackEntryTest, LyingLengthsAreRefused) {
  Message whole = Entry(6, CutLabel());
  for (uint32_t at = NLMSG_HDRLEN; at < whole.size(); ++at) {
    for (const char value : {'\0', '\1', '\x7f', '\xff'}) {
      Message bent(whole, whole.size());
      reinterpret_cast<char*>(&bent.header())[at] = value;
      ParseConntrackEntry(bent.header());
    }
  }
}

TEST(IsWholeMessageTest, AMessageThatClaimsMoreThanThereIsIsNotWhole) {
  Message whole = Entry(6, {});
  const auto size = static_cast<int>(whole.size());
  EXPECT_TRUE(IsWholeMessage(&whole.header(), size));
  EXPECT_FALSE(IsWholeMessage(&whole.header(), size - 1));
  for (const uint32_t length : {0U, 15U, 0x80000000U, 0xfffffff0U, 0xffffffffU}) {
    whole.header().nlmsg_len = length;
    EXPECT_FALSE(IsWholeMessage(&whole.header(), size)) << length;
  }
}

Message Socket(uint8_t family, const char* local, const char* remote) {
  return Message([&](nlmsghdr* message) {
    auto* found =
        static_cast<inet_diag_msg*>(mnl_nlmsg_put_extra_header(message, sizeof(inet_diag_msg)));
    found->idiag_family = family;
    inet_pton(family, local, found->id.idiag_src);
    inet_pton(family, remote, found->id.idiag_dst);
    found->id.idiag_sport = htons(22);
    found->id.idiag_dport = htons(40000);
  });
}

TEST(ParseTcpSocketTest, MappedAddressesAreIpv4) {
  const auto four = ParseTcpSocket(Socket(AF_INET, "192.0.2.1", "198.51.100.9").header());
  const auto mapped =
      ParseTcpSocket(Socket(AF_INET6, "::ffff:192.0.2.1", "::ffff:198.51.100.9").header());
  const auto six = ParseTcpSocket(Socket(AF_INET6, "2001:db8::1", "2001:db8::9").header());
  ASSERT_TRUE(four.has_value() && mapped.has_value() && six.has_value());
  EXPECT_EQ(four->flow, (Flow{A("198.51.100.9"), 40000, A("192.0.2.1"), 22}));
  EXPECT_EQ(mapped->flow, four->flow);
  EXPECT_EQ(mapped->family, AF_INET6) << "the kernel still knows it as that";
  EXPECT_EQ(six->flow, (Flow{A("2001:db8::9"), 40000, A("2001:db8::1"), 22}));
}

TEST(ParseTcpSocketTest, CutOffAndStrangeMessagesAreRefused) {
  Message whole = Socket(AF_INET, "192.0.2.1", "198.51.100.9");
  for (uint32_t size = NLMSG_HDRLEN; size < whole.size(); ++size) {
    EXPECT_FALSE(ParseTcpSocket(Message(whole, size).header()).has_value()) << size;
  }
  EXPECT_FALSE(ParseTcpSocket(Socket(AF_UNIX, "", "").header()).has_value());
}

Message Route(uint8_t type, uint8_t table, uint8_t length, absl::string_view destination) {
  return Message([&](nlmsghdr* message) {
    auto* route = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(rtmsg)));
    const Address address = A(destination);
    route->rtm_family = address.family == Family::kIpv4 ? AF_INET : AF_INET6;
    route->rtm_type = type;
    route->rtm_table = table;
    route->rtm_dst_len = length;
    mnl_attr_put(message, RTA_DST, address.size(), address.bytes.data());
  });
}

TEST(ParseLocalRouteTest, OnlyRoutesToThisHostCount) {
  const auto parse = [](uint8_t type, uint8_t table, uint8_t length, const char* destination) {
    return ParseLocalRoute(Route(type, table, length, destination).header());
  };
  EXPECT_EQ(parse(RTN_LOCAL, RT_TABLE_LOCAL, 32, "192.0.2.1"), Prefix::Host(A("192.0.2.1")));
  EXPECT_EQ(parse(RTN_BROADCAST, RT_TABLE_LOCAL, 32, "192.0.2.255"),
            Prefix::Host(A("192.0.2.255")));
  EXPECT_EQ(parse(RTN_ANYCAST, RT_TABLE_LOCAL, 128, "2001:db8::"), Prefix::Host(A("2001:db8::")));
  EXPECT_EQ(parse(RTN_LOCAL, RT_TABLE_LOCAL, 64, "2001:db8::"),
            Prefix::Parse("2001:db8::/64").value());
  EXPECT_FALSE(parse(RTN_UNICAST, RT_TABLE_MAIN, 24, "192.0.2.0"));
  EXPECT_FALSE(parse(RTN_UNICAST, RT_TABLE_LOCAL, 24, "192.0.2.0"));
  EXPECT_FALSE(parse(RTN_LOCAL, RT_TABLE_MAIN, 32, "192.0.2.1"));
  EXPECT_FALSE(parse(RTN_LOCAL, RT_TABLE_LOCAL, 33, "192.0.2.1")) << "more bits than it has";
}

TEST(ParseLocalRouteTest, CutOffMessagesAreRefused) {
  Message whole = Route(RTN_LOCAL, RT_TABLE_LOCAL, 32, "192.0.2.1");
  for (uint32_t size = NLMSG_HDRLEN; size < whole.size(); ++size) {
    EXPECT_FALSE(ParseLocalRoute(Message(whole, size).header()).has_value()) << size;
  }
}

}  // namespace
}  // namespace postern

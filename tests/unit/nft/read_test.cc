#include "agent/firewall/nft/read.h"

#include <endian.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "agent/firewall/nft/attributes.h"
#include "tests/support/grants.h"

namespace postern::nft {
namespace {

const SetId kKeep32 = {Family::kIpv4, 32, Admission::kKeep};

// An answer of the kernel as it would look.
class Answer {
 public:
  explicit Answer(uint16_t type) {
    nftnl_nlmsg_build_hdr(bytes_.data(), NFNL_SUBSYS_NFTABLES << 8 | type, NFPROTO_INET, 0, 0);
  }

  nlmsghdr* message() { return static_cast<nlmsghdr*>(static_cast<void*>(bytes_.data())); }

 private:
  alignas(nlmsghdr) std::array<char, 4096> bytes_ = {};
};

void PutElementOf(nlmsghdr* message, const Bytes& key, uint64_t expiration) {
  nlattr* element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  nlattr* nested_key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
  mnl_attr_put(message, NFTA_DATA_VALUE, key.size(), key.data());
  mnl_attr_nest_end(message, nested_key);
  mnl_attr_put_u64(message, NFTA_SET_ELEM_EXPIRATION, htobe64(expiration));
  nlattr* expression = mnl_attr_nest_start(message, NFTA_SET_ELEM_EXPR);
  mnl_attr_put_strz(message, NFTA_EXPR_NAME, "counter");
  nlattr* data = mnl_attr_nest_start(message, NFTA_EXPR_DATA);
  mnl_attr_put_u64(message, NFTA_COUNTER_BYTES, htobe64(840));
  mnl_attr_put_u64(message, NFTA_COUNTER_PACKETS, htobe64(14));
  mnl_attr_nest_end(message, data);
  mnl_attr_nest_end(message, expression);
  mnl_attr_nest_end(message, element);
}

Answer TwoElements() {
  Answer answer(NFT_MSG_NEWSETELEM);
  nlattr* list = mnl_attr_nest_start(answer.message(), NFTA_SET_ELEM_LIST_ELEMENTS);
  PutElementOf(answer.message(), ElementKey(Key("203.0.113.7", 22)), 60'000);
  PutElementOf(answer.message(), ElementKey(Key("203.0.113.8", 3389, Protocol::kUdp)), 1);
  mnl_attr_nest_end(answer.message(), list);
  return answer;
}

TEST(ReadTest, SetNamesAreReadBack) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const Admission admission : {Admission::kKeep, Admission::kCut}) {
      for (int length = 0; length <= AddressBits(family); ++length) {
        const SetId set = {family, static_cast<uint8_t>(length), admission};
        EXPECT_EQ(ParseSetName(set.Name()), set);
      }
    }
  }
  for (const char* name : {"", "keep", "keep4", "keep4_", "keep4_33", "keep6_129", "keep4_07",
                           "keep4_+7", "keep4_-1", "keep4_7 ", "keep5_1", "hold4_1", "older4"}) {
    EXPECT_EQ(ParseSetName(name), std::nullopt) << name;
  }
}

TEST(ReadTest, ElementsHaveTheirCounterAndEnd) {
  Answer answer = TwoElements();
  std::vector<InstalledElement> elements;
  ForEachElement(*answer.message(), [&](const RawElement& raw) {
    elements.push_back(ParseElement(raw, kKeep32).value());
  });
  ASSERT_EQ(elements.size(), 2U);
  EXPECT_EQ(elements[0].key, Key("203.0.113.7", 22));
  EXPECT_EQ(elements[0].remaining, absl::Minutes(1));
  EXPECT_EQ(elements[0].counter.packets, 14U);
  EXPECT_EQ(elements[0].counter.bytes, 840U);
  EXPECT_EQ(elements[1].key, Key("203.0.113.8", 3389, Protocol::kUdp));
}

TEST(ReadTest, ElementsThatAreNotOursAreLeftOut) {
  const Bytes good = ElementKey(Key("203.0.113.7", 22));
  RawElement raw{.key = good, .expiration = 1000, .counter = {}};
  EXPECT_TRUE(ParseElement(raw, kKeep32).has_value());
  // An end is missing: somebody made it permanent.
  raw.expiration = std::nullopt;
  EXPECT_EQ(ParseElement(raw, kKeep32)->remaining, absl::InfiniteDuration());
  // Expired, and not collected yet.
  raw.expiration = 0;
  EXPECT_FALSE(ParseElement(raw, kKeep32).has_value());
  raw.expiration = 1000;
  for (const size_t padding : {5, 6, 7, 10, 11}) {
    Bytes bad = good;
    bad[padding] = 1;
    raw.key = bad;
    EXPECT_FALSE(ParseElement(raw, kKeep32).has_value()) << padding;
  }
  const Bytes longer(good.size() + 4, 0);
  for (size_t size = 0; size <= longer.size(); ++size) {
    raw.key = absl::MakeConstSpan(longer).subspan(0, size);
    EXPECT_EQ(ParseElement(raw, kKeep32).has_value(), size == good.size()) << size;
  }
}

TEST(ReadTest, FlowsAreReadBack) {
  for (const Flow& flow : {Flow{A("203.0.113.7"), 50000, A("192.0.2.1"), 22},
                           Flow{A("2001:db8::7"), 50000, A("2001:db8::1"), 3389}}) {
    EXPECT_EQ(ParseFlow(FlowKey(flow)), flow);
  }
  EXPECT_EQ(ParseFlow({}), std::nullopt);
  EXPECT_EQ(ParseFlow(Bytes(12, 0)), std::nullopt);
}

TEST(ReadTest, AMessageThatClaimsMoreThanThereIsIsNotWhole) {
  Answer answer = TwoElements();
  const auto size = static_cast<int>(answer.message()->nlmsg_len);
  EXPECT_TRUE(IsWhole(answer.message(), size));
  EXPECT_FALSE(IsWhole(answer.message(), size - 1));
  EXPECT_FALSE(IsWhole(answer.message(), 0));
  EXPECT_FALSE(IsWhole(answer.message(), -4));
  for (const uint32_t length : {0U, 15U, 0x80000000U, 0xfffffff0U, 0xffffffffU}) {
    answer.message()->nlmsg_len = length;
    EXPECT_FALSE(IsWhole(answer.message(), size)) << length;
  }
}

// Whatever arrives, nothing is read beyond it (the sanitizers watch) and nothing
// hangs.
TEST(ReadTest, ATableIsProtectedThatHasAnOwnerAndStaysWithoutIt) {
  const auto protector = [](uint32_t flags, bool owner) {
    Answer answer(NFT_MSG_NEWTABLE);
    mnl_attr_put_strz(answer.message(), NFTA_TABLE_NAME, kTableName);
    mnl_attr_put_u32(answer.message(), NFTA_TABLE_FLAGS, htobe32(flags));
    if (owner) mnl_attr_put_u32(answer.message(), NFTA_TABLE_OWNER, htobe32(4711));
    return ParseProtector(*answer.message());
  };
  EXPECT_EQ(protector(6, true), 4711U);
  EXPECT_EQ(protector(2, true), std::nullopt);
  EXPECT_EQ(protector(4, false), std::nullopt);
  EXPECT_EQ(protector(0, false), std::nullopt);
  EXPECT_EQ(ParseProtector(*Answer(NFT_MSG_NEWTABLE).message()), std::nullopt);
}

TEST(ReadTest, DamagedAnswersAreSurvived) {
  std::mt19937 random(1);
  Answer whole = TwoElements();
  const size_t size = whole.message()->nlmsg_len;
  for (int round = 0; round < 20'000; ++round) {
    const size_t kept = round % 2 == 0 ? size : NLMSG_HDRLEN + random() % (size - NLMSG_HDRLEN);
    // On the heap and of the exact size, so that a read past its end is seen.
    std::vector<char> bytes(kept);
    std::memcpy(bytes.data(), whole.message(), kept);
    for (uint32_t flips = random() % 8; flips > 0; --flips) {
      const size_t at = NLMSG_HDRLEN + random() % std::max<size_t>(1, kept - NLMSG_HDRLEN);
      if (at < kept) bytes[at] = static_cast<char>(random());
    }
    auto* message = static_cast<nlmsghdr*>(static_cast<void*>(bytes.data()));
    message->nlmsg_len = static_cast<uint32_t>(kept);
    int count = 0;
    ForEachElement(*message, [&](const RawElement& raw) {
      ++count;
      ParseElement(raw, kKeep32);
      ParseFlow(raw.key);
    });
    EXPECT_LE(count, 200);
    ParseSet(*message);
    message->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSET;
    ParseSet(*message);
    message->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE;
    ParseProtector(*message);
    message->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWOBJ;
    ParseCounter(*message);
  }
}

}  // namespace
}  // namespace postern::nft

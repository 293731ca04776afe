#include "agent/firewall/nft/foreign_rule.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace postern::nft {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Info = std::vector<uint8_t>;

TEST(ForeignRule, ReadsTheMatchesOfXtables) {
  // struct xt_tcp: source ports 0 to 65535, destination ports 22 to 23.
  const Info tcp = {0, 0, 0xff, 0xff, 22, 0, 23, 0, 0, 0, 0, 0};
  ForeignRule rule;
  AddXtablesMatch("tcp", tcp, rule);
  const Condition ports{.field = Field::kDestinationPort, .ranges = {{22, 23}}};
  EXPECT_THAT(rule.conditions, ElementsAre(ports));
  // Cut off: nothing can be told.
  rule = {};
  AddXtablesMatch("tcp", Info(tcp.begin(), tcp.end() - 1), rule);
  EXPECT_THAT(rule.conditions, ElementsAre(Condition{}));

  // struct xt_multiport_v1: destination, 3 entries: 22, 80 to 90; not negated.
  Info multiport(2 + 30 + 15 + 1, 0);
  multiport[0] = 1;
  multiport[1] = 3;
  multiport[2] = 22;
  multiport[4] = 80;
  multiport[6] = 90;
  multiport[32 + 1] = 1;
  rule = {};
  AddXtablesMatch("multiport", multiport, rule);
  const Condition several{.field = Field::kDestinationPort, .ranges = {{22, 22}, {80, 90}}};
  EXPECT_THAT(rule.conditions, ElementsAre(several));
  // More entries than there is room for.
  multiport[1] = 16;
  rule = {};
  AddXtablesMatch("multiport", multiport, rule);
  EXPECT_THAT(rule.conditions, ElementsAre(Condition{}));

  rule = {};
  AddXtablesMatch("comment", {}, rule);
  EXPECT_THAT(rule.conditions, IsEmpty());
  AddXtablesMatch("recent", {}, rule);
  EXPECT_THAT(rule.conditions, ElementsAre(Condition{}));
}

TEST(ForeignRule, ReadsTheTargetsOfXtables) {
  // struct nf_nat_range2: address and port, 172.17.0.2, port 2222.
  Info dnat(4 + 16 + 16 + 2 + 2 + 2, 0);
  dnat[0] = 3;
  const uint8_t address[] = {172, 17, 0, 2};
  std::copy(std::begin(address), std::end(address), dnat.begin() + 4);
  dnat[36] = 2222 >> 8;
  dnat[37] = 2222 & 0xff;
  dnat.resize(dnat.size() + 6);  // xtables aligns to 8.
  ForeignRule rule;
  AddXtablesTarget("DNAT", 2, dnat, rule);
  const Effect translate{
      .kind = EffectKind::kTranslate, .address = *Address::Parse("172.17.0.2"), .port = 2222};
  EXPECT_THAT(rule.effects, ElementsAre(translate));

  // struct nf_nat_ipv4_multi_range_compat: one, port only, 22.
  Info redirect(4 + 4 + 4 + 4 + 2 + 2, 0);
  redirect[0] = 1;
  redirect[4] = 2;
  redirect[17] = 22;
  rule = {};
  AddXtablesTarget("REDIRECT", 0, redirect, rule);
  const Effect to_ssh{.kind = EffectKind::kRedirect, .port = 22};
  EXPECT_THAT(rule.effects, ElementsAre(to_ssh));

  rule = {};
  AddXtablesTarget("REJECT", 0, {}, rule);
  EXPECT_EQ(rule.decision.verdict, Verdict::kReject);
  AddXtablesTarget("LOG", 0, {}, rule);
  EXPECT_THAT(rule.effects, IsEmpty());
}

// `tcp dport 22 drop` as nft(8) writes it.
class RuleBytes {
 public:
  RuleBytes() {
    nlmsghdr* message = mnl_nlmsg_put_header(bytes_.data());
    nlattr* list = mnl_attr_nest_start(message, NFTA_RULE_EXPRESSIONS);
    Expression("meta", [message] {
      mnl_attr_put_u32(message, NFTA_META_KEY, htonl(NFT_META_L4PROTO));
      mnl_attr_put_u32(message, NFTA_META_DREG, htonl(NFT_REG_1));
    });
    Compare({6});
    Expression("payload", [message] {
      mnl_attr_put_u32(message, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1));
      mnl_attr_put_u32(message, NFTA_PAYLOAD_BASE, htonl(NFT_PAYLOAD_TRANSPORT_HEADER));
      mnl_attr_put_u32(message, NFTA_PAYLOAD_OFFSET, htonl(2));
      mnl_attr_put_u32(message, NFTA_PAYLOAD_LEN, htonl(2));
    });
    Compare({0, 22});
    Expression("immediate", [message] {
      mnl_attr_put_u32(message, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT));
      nlattr* data = mnl_attr_nest_start(message, NFTA_IMMEDIATE_DATA);
      nlattr* verdict = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);
      mnl_attr_put_u32(message, NFTA_VERDICT_CODE, 0);
      mnl_attr_nest_end(message, verdict);
      mnl_attr_nest_end(message, data);
    });
    mnl_attr_nest_end(message, list);
  }

  const nlattr* list() { return static_cast<const nlattr*>(mnl_nlmsg_get_payload(Header())); }
  char* begin() { return static_cast<char*>(mnl_nlmsg_get_payload(Header())); }
  size_t size() { return mnl_nlmsg_get_payload_len(Header()); }

 private:
  nlmsghdr* Header() { return static_cast<nlmsghdr*>(static_cast<void*>(bytes_.data())); }

  template <typename Fill>
  void Expression(const char* name, Fill fill) {
    nlattr* element = mnl_attr_nest_start(Header(), NFTA_LIST_ELEM);
    mnl_attr_put_strz(Header(), NFTA_EXPR_NAME, name);
    nlattr* data = mnl_attr_nest_start(Header(), NFTA_EXPR_DATA);
    fill();
    mnl_attr_nest_end(Header(), data);
    mnl_attr_nest_end(Header(), element);
  }

  void Compare(const Info& value) {
    Expression("cmp", [this, &value] {
      mnl_attr_put_u32(Header(), NFTA_CMP_SREG, htonl(NFT_REG_1));
      mnl_attr_put_u32(Header(), NFTA_CMP_OP, htonl(NFT_CMP_EQ));
      nlattr* data = mnl_attr_nest_start(Header(), NFTA_CMP_DATA);
      mnl_attr_put(Header(), NFTA_DATA_VALUE, value.size(), value.data());
      mnl_attr_nest_end(Header(), data);
    });
  }

  alignas(nlmsghdr) std::array<char, 2048> bytes_ = {};
};

TEST(ForeignRule, ReadsTheRegistersProgram) {
  RuleBytes bytes;
  const ForeignRule rule = ParseRuleExpressions(bytes.list());
  const Condition tcp{.field = Field::kProtocol, .ranges = {{6, 6}}};
  const Condition ssh{.field = Field::kDestinationPort, .ranges = {{22, 22}}};
  EXPECT_THAT(rule.conditions, ElementsAre(tcp, ssh));
  EXPECT_EQ(rule.decision.verdict, Verdict::kDrop);
  EXPECT_EQ(ParseRuleExpressions(nullptr), ForeignRule());
}

TEST(ForeignRule, AnyBytesAreRead) {
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    RuleBytes bytes;
    // Lengths of the list itself are the message's, which is checked before.
    for (int change = 0; change < 4; ++change) {
      const size_t at = sizeof(nlattr) + random() % (bytes.size() - sizeof(nlattr));
      bytes.begin()[at] = static_cast<char>(random());
    }
    const ForeignRule rule = ParseRuleExpressions(bytes.list());
    EXPECT_LE(rule.conditions.size(), 128U);
  }
}

}  // namespace
}  // namespace postern::nft

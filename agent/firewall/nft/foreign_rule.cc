#include "agent/firewall/nft/foreign_rule.h"

#include <linux/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "agent/firewall/nft/foreign_attributes.h"

namespace postern::nft {
namespace {

// The kernel takes no more (NFT_RULE_MAXEXPRS).
constexpr size_t kMaxExpressions = 128;

using Bytes = absl::Span<const uint8_t>;

uint16_t NetworkOrder16(Bytes bytes) { return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]); }

uint32_t HostOrder32(Bytes bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// What a register of 4 bytes holds.
struct Slot {
  Field field = Field::kOther;
  uint32_t mask = std::numeric_limits<uint32_t>::max();
  // The interface's name, where the field stands for its comparison with it.
  bool is_interface_name = false;
  // A constant, when the rule has put one there.
  std::vector<uint8_t> constant = {};
};

// Runs a rule without a packet.
class RuleReader {
 public:
  ForeignRule Read(const nlattr* expressions) {
    size_t count = 0;
    if (expressions == nullptr) return std::move(rule_);
    ForEachNested(*expressions, [&](const nlattr& expression) {
      if (++count <= kMaxExpressions) Take(expression);
    });
    return std::move(rule_);
  }

 private:
  void Take(const nlattr& expression) {
    const Fields fields = Fields::In(&expression);
    const std::string name = fields.Text(NFTA_EXPR_NAME);
    const nlattr* nest = fields.at(NFTA_EXPR_DATA);
    const Fields data = Fields::In(nest);
    using Step = void (RuleReader::*)(const Fields&);
    constexpr std::pair<absl::string_view, Step> kSteps[] = {{"immediate", &RuleReader::Immediate},
                                                             {"meta", &RuleReader::Meta},
                                                             {"payload", &RuleReader::Payload},
                                                             {"ct", &RuleReader::Ct},
                                                             {"fib", &RuleReader::Fib},
                                                             {"bitwise", &RuleReader::Bitwise},
                                                             {"cmp", &RuleReader::Cmp},
                                                             {"range", &RuleReader::RangeOf},
                                                             {"lookup", &RuleReader::Lookup},
                                                             {"nat", &RuleReader::Nat},
                                                             {"redir", &RuleReader::Redirect},
                                                             {"flow_offload", &RuleReader::Offload},
                                                             {"match", &RuleReader::Match},
                                                             {"target", &RuleReader::Target}};
    for (const auto& [known, step] : kSteps) {
      if (name == known) return (this->*step)(data);
    }
    if (name == "notrack") rule_.effects.push_back({.kind = EffectKind::kUntrack});
    if (name == "reject") rule_.decision = {.verdict = Verdict::kReject};
    if (name == "queue") rule_.decision = {.verdict = Verdict::kQueue};
    // These let only some packets go on.
    if (name == "limit" || name == "quota" || name == "connlimit" || name == "dynset") Unknown();
    // The others that load a register (hash, numgen, socket, ...) leave it as one
    // that nothing is known about, unless it is one that held something before:
    // nft(8) loads each register anew for each comparison.
  }

  // ---- Registers

  // NFT_REG_1 to NFT_REG_4 are four of the small ones each.
  static size_t IndexOf(uint32_t reg) {
    if (reg >= NFT_REG_1 && reg <= NFT_REG_4) return size_t{reg - NFT_REG_1} * 4;
    if (reg >= NFT_REG32_00 && reg <= NFT_REG32_15) return reg - NFT_REG32_00;
    return 0;
  }
  Slot& At(uint32_t reg) { return slots_[IndexOf(reg)]; }

  void Load(uint32_t reg, size_t size, Slot slot) {
    const size_t first = IndexOf(reg);
    const size_t slots = std::max<size_t>((size + 3) / 4, 1);
    for (size_t i = first; i < std::min(first + slots, slots_.size()); ++i) slots_[i] = {};
    slots_[first] = std::move(slot);
  }
  void Load(uint32_t reg, Field field) { Load(reg, SizeOf(field), Slot{.field = field}); }

  void Unknown() { rule_.conditions.push_back({}); }

  // ---- Expressions that load

  void Immediate(const Fields& data) {
    const Fields value = Fields::In(data.at(NFTA_IMMEDIATE_DATA));
    if (value.Has(NFTA_DATA_VERDICT)) {
      rule_.decision = ParseDecision(value.at(NFTA_DATA_VERDICT));
      return;
    }
    const Bytes bytes = value.Data(NFTA_DATA_VALUE);
    Slot slot;
    slot.constant.assign(bytes.begin(), bytes.end());
    Load(data.Number32(NFTA_IMMEDIATE_DREG), bytes.size(), std::move(slot));
  }

  void Meta(const Fields& data) {
    if (!data.Has(NFTA_META_DREG)) return;
    const uint32_t reg = data.Number32(NFTA_META_DREG);
    switch (data.Number32(NFTA_META_KEY)) {
      case NFT_META_NFPROTO:
        return Load(reg, Field::kFamily);
      case NFT_META_L4PROTO:
        return Load(reg, Field::kProtocol);
      case NFT_META_IIF:
        return Load(reg, Field::kFromLoopback);
      case NFT_META_IIFNAME:
        return Load(reg, 16, Slot{.field = Field::kFromLoopback, .is_interface_name = true});
      default:
        return Load(reg, 16, {});
    }
  }

  void Payload(const Fields& data) {
    const uint32_t base = data.Number32(NFTA_PAYLOAD_BASE);
    const uint32_t offset = data.Number32(NFTA_PAYLOAD_OFFSET);
    const uint32_t length = data.Number32(NFTA_PAYLOAD_LEN);
    if (data.Has(NFTA_PAYLOAD_SREG)) {
      return WriteHeader(base, offset, length, At(data.Number32(NFTA_PAYLOAD_SREG)));
    }
    Field field = Field::kOther;
    if (base == NFT_PAYLOAD_TRANSPORT_HEADER && length == 2) {
      if (offset == 0) field = Field::kSourcePort;
      if (offset == 2) field = Field::kDestinationPort;
    } else if (base == NFT_PAYLOAD_NETWORK_HEADER && length == 1) {
      // `ip protocol` and `ip6 nexthdr`: nft(8) puts a comparison of the family
      // before them.
      if (offset == 9 || offset == 6) field = Field::kProtocol;
    }
    Load(data.Number32(NFTA_PAYLOAD_DREG), length, Slot{.field = field});
  }

  void WriteHeader(uint32_t base, uint32_t offset, uint32_t length, const Slot& from) {
    if (base == NFT_PAYLOAD_TRANSPORT_HEADER && offset <= 2 && offset + length >= 4) {
      Effect effect{.kind = EffectKind::kWritePort};
      if (offset == 2 && length == 2 && from.constant.size() >= 2) {
        effect.port = NetworkOrder16(from.constant);
      }
      rule_.effects.push_back(std::move(effect));
    }
    // The destination, in a header of IPv4 (16, 4 bytes) or IPv6 (24, 16 bytes).
    if (base == NFT_PAYLOAD_NETWORK_HEADER &&
        ((offset == 16 && length == 4) || (offset == 24 && length == 16))) {
      rule_.effects.push_back({.kind = EffectKind::kWriteAddress});
    }
  }

  void Ct(const Fields& data) {
    const uint32_t key = data.Number32(NFTA_CT_KEY);
    if (data.Has(NFTA_CT_SREG)) {
      if (key == NFT_CT_ZONE) rule_.effects.push_back({.kind = EffectKind::kZone});
      return;
    }
    const uint32_t reg = data.Number32(NFTA_CT_DREG);
    if (key == NFT_CT_STATE) return Load(reg, Field::kConntrackState);
    if (key == NFT_CT_STATUS) return Load(reg, Field::kConntrackStatus);
    Load(reg, 16, {});
  }

  void Fib(const Fields& data) {
    const bool type = data.Number32(NFTA_FIB_RESULT) == NFT_FIB_RESULT_ADDRTYPE &&
                      (data.Number32(NFTA_FIB_FLAGS) & NFTA_FIB_F_DADDR) != 0;
    Load(data.Number32(NFTA_FIB_DREG), type ? Field::kDestinationType : Field::kOther);
  }

  void Bitwise(const Fields& data) {
    const uint32_t to = data.Number32(NFTA_BITWISE_DREG);
    Slot slot = At(data.Number32(NFTA_BITWISE_SREG));
    const Bytes mask = Fields::In(data.at(NFTA_BITWISE_MASK)).Data(NFTA_DATA_VALUE);
    const Bytes toggled = Fields::In(data.at(NFTA_BITWISE_XOR)).Data(NFTA_DATA_VALUE);
    const bool only_masks =
        std::all_of(toggled.begin(), toggled.end(), [](uint8_t b) { return b == 0; });
    const std::optional<uint32_t> value = ValueIn(slot.field, mask);
    if (data.Number32(NFTA_BITWISE_OP) != NFT_BITWISE_BOOL || !only_masks || !value ||
        slot.is_interface_name) {
      slot = {};
    } else {
      slot.mask &= *value;
    }
    Load(to, data.Number32(NFTA_BITWISE_LEN), std::move(slot));
  }

  // ---- Conditions

  void Cmp(const Fields& data) {
    const Slot& slot = At(data.Number32(NFTA_CMP_SREG));
    const Bytes bytes = Fields::In(data.at(NFTA_CMP_DATA)).Data(NFTA_DATA_VALUE);
    const uint32_t op = data.Number32(NFTA_CMP_OP);
    if (slot.is_interface_name) return CompareName(bytes, op);
    const std::optional<uint32_t> value = ValueIn(slot.field, bytes);
    // More bytes than the field has are several fields at once.
    if (!value || bytes.size() > SizeOf(slot.field)) return Unknown();
    Condition condition{.field = slot.field, .mask = slot.mask};
    constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
    if (slot.field == Field::kFromLoopback) {
      // Loopback is always the first interface of its namespace.
      return CompareLoopback(*value == 1, op);
    }
    switch (op) {
      case NFT_CMP_EQ:
      case NFT_CMP_NEQ:
        condition.ranges = {{*value, *value}};
        condition.negated = op == NFT_CMP_NEQ;
        break;
      case NFT_CMP_GTE:
      case NFT_CMP_LT:
        condition.ranges = {{*value, kMost}};
        condition.negated = op == NFT_CMP_LT;
        break;
      case NFT_CMP_LTE:
      case NFT_CMP_GT:
        condition.ranges = {{0, *value}};
        condition.negated = op == NFT_CMP_GT;
        break;
      default:
        return Unknown();
    }
    rule_.conditions.push_back(std::move(condition));
  }

  void CompareName(Bytes bytes, uint32_t op) {
    constexpr absl::string_view kLoopback("lo", 3);
    const bool whole = std::find(bytes.begin(), bytes.end(), 0) != bytes.end();
    if (!whole || bytes.size() < kLoopback.size()) return Unknown();
    CompareLoopback(std::memcmp(bytes.data(), kLoopback.data(), kLoopback.size()) == 0, op);
  }

  // Which other interface a packet comes through is not known; that it is not
  // loopback where one is asked for is.
  void CompareLoopback(bool is_loopback, uint32_t op) {
    if (!is_loopback || (op != NFT_CMP_EQ && op != NFT_CMP_NEQ)) return Unknown();
    rule_.conditions.push_back(
        {.field = Field::kFromLoopback, .negated = op == NFT_CMP_NEQ, .ranges = {{1, 1}}});
  }

  void RangeOf(const Fields& data) {
    const Slot& slot = At(data.Number32(NFTA_RANGE_SREG));
    const Bytes from = Fields::In(data.at(NFTA_RANGE_FROM_DATA)).Data(NFTA_DATA_VALUE);
    const Bytes to = Fields::In(data.at(NFTA_RANGE_TO_DATA)).Data(NFTA_DATA_VALUE);
    const std::optional<uint32_t> low = ValueIn(slot.field, from);
    const std::optional<uint32_t> high = ValueIn(slot.field, to);
    if (!low || !high || from.size() > SizeOf(slot.field) || slot.is_interface_name ||
        slot.field == Field::kFromLoopback) {
      return Unknown();
    }
    rule_.conditions.push_back({.field = slot.field,
                                .mask = slot.mask,
                                .negated = data.Number32(NFTA_RANGE_OP) == NFT_RANGE_NEQ,
                                .ranges = {{*low, *high}}});
  }

  void Lookup(const Fields& data) {
    Slot& slot = At(data.Number32(NFTA_LOOKUP_SREG));
    const Field field =
        slot.is_interface_name || slot.field == Field::kFromLoopback ? Field::kOther : slot.field;
    std::string set = data.Text(NFTA_LOOKUP_SET);
    if (!data.Has(NFTA_LOOKUP_DREG)) {
      rule_.conditions.push_back(
          {.field = field,
           .mask = slot.mask,
           .negated = (data.Number32(NFTA_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV) != 0,
           .set = std::move(set)});
      return;
    }
    const uint32_t reg = data.Number32(NFTA_LOOKUP_DREG);
    if (reg == NFT_REG_VERDICT) {
      rule_.map_field = field;
      rule_.map = std::move(set);
      return;
    }
    // A map to a value: only the packets that are in it go on.
    rule_.conditions.push_back({.field = field, .mask = slot.mask, .set = std::move(set)});
    Load(reg, 16, {});
  }

  // ---- Effects

  std::optional<uint16_t> PortIn(const Fields& data, size_t attribute) {
    if (!data.Has(attribute)) return std::nullopt;
    const Slot& slot = At(data.Number32(attribute));
    if (slot.constant.size() < 2) return std::nullopt;
    return NetworkOrder16(slot.constant);
  }

  void Nat(const Fields& data) {
    if (data.Number32(NFTA_NAT_TYPE) != NFT_NAT_DNAT) return;
    Effect effect{.kind = EffectKind::kTranslate, .port = PortIn(data, NFTA_NAT_REG_PROTO_MIN)};
    if (data.Has(NFTA_NAT_REG_ADDR_MIN)) {
      const Slot& slot = At(data.Number32(NFTA_NAT_REG_ADDR_MIN));
      Address address{.family = data.Number32(NFTA_NAT_FAMILY) == NFPROTO_IPV6 ? Family::kIpv6
                                                                               : Family::kIpv4};
      if (slot.constant.size() == address.size()) {
        std::copy(slot.constant.begin(), slot.constant.end(), address.bytes.begin());
        effect.address = address;
      }
    }
    rule_.effects.push_back(std::move(effect));
  }

  void Redirect(const Fields& data) {
    rule_.effects.push_back(
        {.kind = EffectKind::kRedirect, .port = PortIn(data, NFTA_REDIR_REG_PROTO_MIN)});
  }

  void Offload(const Fields& data) {
    rule_.effects.push_back(
        {.kind = EffectKind::kOffload, .object = data.Text(NFTA_FLOW_TABLE_NAME)});
  }

  void Match(const Fields& data) {
    AddXtablesMatch(data.Text(NFTA_MATCH_NAME), data.Data(NFTA_MATCH_INFO), rule_);
  }

  void Target(const Fields& data) {
    AddXtablesTarget(data.Text(NFTA_TARGET_NAME), data.Number32(NFTA_TARGET_REV),
                     data.Data(NFTA_TARGET_INFO), rule_);
  }

  ForeignRule rule_;
  std::array<Slot, 16> slots_;
};

}  // namespace

size_t SizeOf(Field field) {
  switch (field) {
    case Field::kOther:
      return 0;
    case Field::kFamily:
    case Field::kProtocol:
      return 1;
    case Field::kSourcePort:
    case Field::kDestinationPort:
      return 2;
    case Field::kConntrackState:
    case Field::kConntrackStatus:
    case Field::kFromLoopback:
    case Field::kDestinationType:
      return 4;
  }
  return 0;
}

std::optional<uint32_t> ValueIn(Field field, absl::Span<const uint8_t> bytes) {
  const size_t size = SizeOf(field);
  if (size == 0 || bytes.size() < size) return std::nullopt;
  if (size == 1) return bytes[0];
  if (size == 2) return NetworkOrder16(bytes);
  return HostOrder32(bytes);
}

Decision ParseDecision(const nlattr* verdict) {
  const Fields fields = Fields::In(verdict);
  switch (static_cast<int32_t>(fields.Number32(NFTA_VERDICT_CODE))) {
    case NF_ACCEPT:
      return {.verdict = Verdict::kAccept};
    case NF_DROP:
      return {.verdict = Verdict::kDrop};
    case NF_QUEUE:
      return {.verdict = Verdict::kQueue};
    case NFT_JUMP:
      return {.verdict = Verdict::kJump, .chain = fields.Text(NFTA_VERDICT_CHAIN)};
    case NFT_GOTO:
      return {.verdict = Verdict::kGoto, .chain = fields.Text(NFTA_VERDICT_CHAIN)};
    case NFT_RETURN:
      return {.verdict = Verdict::kReturn};
    default:
      return {};
  }
}

ForeignRule ParseRuleExpressions(const nlattr* expressions) {
  return RuleReader().Read(expressions);
}

}  // namespace postern::nft

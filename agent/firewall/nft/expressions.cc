#include "agent/firewall/nft/expressions.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>

#include <string>
#include <variant>

namespace postern::nft {
namespace {

// Where SetCutLabel keeps the label: the last of the sixteen registers, out of
// the way of what a rule has loaded.
constexpr int kLabelRegister = 12;

// The longest value that is masked or compared, an IPv6 address or a label, and
// the longest name (NFT_NAME_MAXLEN).
constexpr size_t kMaxValue = 16;
constexpr size_t kMaxName = 255;

uint32_t Register(int number) { return NFT_REG32_00 + static_cast<uint32_t>(number); }

void SetBytes(nftnl_expr* expression, uint16_t attribute, const Bytes& bytes) {
  nftnl_expr_set(expression, attribute, bytes.data(), static_cast<uint32_t>(bytes.size()));
}

nft_meta_keys KeyOf(MetaKey key) {
  switch (key) {
    case MetaKey::kInputInterface:
      return NFT_META_IIFNAME;
    case MetaKey::kOutputInterface:
      return NFT_META_OIFNAME;
    case MetaKey::kL4Protocol:
      return NFT_META_L4PROTO;
    case MetaKey::kNfProtocol:
      return NFT_META_NFPROTO;
  }
  __builtin_unreachable();
}

nft_ct_keys KeyOf(const LoadCt& load) {
  switch (load.key) {
    case CtKey::kState:
      return NFT_CT_STATE;
    case CtKey::kDirection:
      return NFT_CT_DIRECTION;
    case CtKey::kLabel:
      return NFT_CT_LABELS;
    case CtKey::kProtocol:
      return NFT_CT_PROTOCOL;
    case CtKey::kOriginalSource:
      return load.family == Family::kIpv4 ? NFT_CT_SRC_IP : NFT_CT_SRC_IP6;
    case CtKey::kOriginalPort:
      return NFT_CT_PROTO_DST;
  }
  __builtin_unreachable();
}

ExpressionPtr Verdict(int verdict, const std::string* chain = nullptr) {
  ExpressionPtr made = NewExpression("immediate");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_IMM_VERDICT, static_cast<uint32_t>(verdict));
  if (chain != nullptr) nftnl_expr_set_str(made.get(), NFTNL_EXPR_IMM_CHAIN, chain->c_str());
  return made;
}

ExpressionPtr Make(const LoadMeta& load) {
  ExpressionPtr made = NewExpression("meta");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_META_KEY, KeyOf(load.key));
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_META_DREG, Register(load.to));
  return made;
}

ExpressionPtr Make(const LoadPayload& load) {
  ExpressionPtr made = NewExpression("payload");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_PAYLOAD_DREG, Register(load.to));
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_PAYLOAD_BASE,
                     load.base == PayloadBase::kNetwork ? NFT_PAYLOAD_NETWORK_HEADER
                                                        : NFT_PAYLOAD_TRANSPORT_HEADER);
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_PAYLOAD_OFFSET, load.offset);
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_PAYLOAD_LEN, load.length);
  return made;
}

ExpressionPtr Make(const LoadCt& load) {
  ExpressionPtr made = NewExpression("ct");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_CT_KEY, KeyOf(load));
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_CT_DREG, Register(load.to));
  if (load.key == CtKey::kOriginalSource || load.key == CtKey::kOriginalPort) {
    nftnl_expr_set_u8(made.get(), NFTNL_EXPR_CT_DIR, IP_CT_DIR_ORIGINAL);
  }
  return made;
}

ExpressionPtr Make(const LoadFibType& load) {
  ExpressionPtr made = NewExpression("fib");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_FIB_DREG, Register(load.to));
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  nftnl_expr_set_u32(
      made.get(), NFTNL_EXPR_FIB_FLAGS,
      load.address == FibAddress::kDestination ? NFTA_FIB_F_DADDR : NFTA_FIB_F_SADDR);
  return made;
}

ExpressionPtr Make(const Mask& mask) {
  ExpressionPtr made = NewExpression("bitwise");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_BITWISE_SREG, Register(mask.at));
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_BITWISE_DREG, Register(mask.at));
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_BITWISE_LEN, static_cast<uint32_t>(mask.mask.size()));
  SetBytes(made.get(), NFTNL_EXPR_BITWISE_MASK, mask.mask);
  SetBytes(made.get(), NFTNL_EXPR_BITWISE_XOR, Bytes(mask.mask.size(), 0));
  return made;
}

ExpressionPtr Make(const Compare& compare) {
  ExpressionPtr made = NewExpression("cmp");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_CMP_SREG, Register(compare.at));
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_CMP_OP, compare.equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
  SetBytes(made.get(), NFTNL_EXPR_CMP_DATA, compare.value);
  return made;
}

ExpressionPtr Make(const Lookup& lookup) {
  ExpressionPtr made = NewExpression("lookup");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_LOOKUP_SREG, Register(lookup.at));
  nftnl_expr_set_str(made.get(), NFTNL_EXPR_LOOKUP_SET, lookup.set.c_str());
  if (lookup.absent) {
    nftnl_expr_set_u32(made.get(), NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  }
  return made;
}

ExpressionPtr Make(const UpdateSet& update) {
  ExpressionPtr made = NewExpression("dynset");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_DYNSET_SREG_KEY, Register(update.at));
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
  nftnl_expr_set_str(made.get(), NFTNL_EXPR_DYNSET_SET_NAME, update.set.c_str());
  return made;
}

ExpressionPtr Make(const Limit& limit) {
  ExpressionPtr made = NewExpression("limit");
  nftnl_expr_set_u64(made.get(), NFTNL_EXPR_LIMIT_RATE, limit.packets);
  nftnl_expr_set_u64(made.get(), NFTNL_EXPR_LIMIT_UNIT,
                     static_cast<uint64_t>(absl::ToInt64Seconds(limit.period)));
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_LIMIT_BURST, limit.burst);
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
  return made;
}

ExpressionPtr Make(const SendToLog& log) {
  ExpressionPtr made = NewExpression("log");
  nftnl_expr_set_u16(made.get(), NFTNL_EXPR_LOG_GROUP, log.group);
  return made;
}

ExpressionPtr Make(const SetCutLabel&) {
  ExpressionPtr made = NewExpression("ct");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_CT_KEY, NFT_CT_LABELS);
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_CT_SREG, Register(kLabelRegister));
  return made;
}

ExpressionPtr Make(const Count& count) {
  ExpressionPtr made = NewExpression("objref");
  nftnl_expr_set_u32(made.get(), NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
  nftnl_expr_set_str(made.get(), NFTNL_EXPR_OBJREF_IMM_NAME, count.counter.c_str());
  return made;
}

ExpressionPtr Make(const Accept&) { return Verdict(NF_ACCEPT); }
ExpressionPtr Make(const Drop&) { return Verdict(NF_DROP); }
ExpressionPtr Make(const Jump& jump) { return Verdict(NFT_JUMP, &jump.chain); }
ExpressionPtr Make(const Goto& jump) { return Verdict(NFT_GOTO, &jump.chain); }

}  // namespace

ExpressionPtr NewExpression(const char* name) { return Own<ExpressionPtr>(nftnl_expr_alloc(name)); }

void AppendExpression(const Expression& expression, nftnl_rule* rule) {
  if (std::holds_alternative<SetCutLabel>(expression)) {
    ExpressionPtr label = NewExpression("immediate");
    nftnl_expr_set_u32(label.get(), NFTNL_EXPR_IMM_DREG, Register(kLabelRegister));
    SetBytes(label.get(), NFTNL_EXPR_IMM_DATA, CutLabel());
    nftnl_rule_add_expr(rule, label.release());
  }
  ExpressionPtr made = std::visit([](const auto& e) { return Make(e); }, expression);
  nftnl_rule_add_expr(rule, made.release());
}

bool Fits(const Expression& expression) {
  if (const auto* mask = std::get_if<Mask>(&expression)) return mask->mask.size() <= kMaxValue;
  if (const auto* compare = std::get_if<Compare>(&expression)) {
    return compare->value.size() <= kMaxValue;
  }
  if (const auto* lookup = std::get_if<Lookup>(&expression)) return lookup->set.size() <= kMaxName;
  if (const auto* update = std::get_if<UpdateSet>(&expression)) {
    return update->set.size() <= kMaxName;
  }
  if (const auto* count = std::get_if<Count>(&expression)) {
    return count->counter.size() <= kMaxName;
  }
  if (const auto* jump = std::get_if<Jump>(&expression)) return jump->chain.size() <= kMaxName;
  if (const auto* jump = std::get_if<Goto>(&expression)) return jump->chain.size() <= kMaxName;
  return true;
}

size_t KernelExpressions(const Expression& expression, const Capabilities& capabilities) {
  if (std::holds_alternative<Limit>(expression)) return capabilities.limits_rates ? 1 : 0;
  if (std::holds_alternative<SendToLog>(expression)) {
    return capabilities.limits_rates && capabilities.logs_packets ? 1 : 0;
  }
  return std::holds_alternative<SetCutLabel>(expression) ? 2 : 1;
}

}  // namespace postern::nft

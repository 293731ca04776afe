#include "agent/firewall/nft/encode.h"

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "agent/firewall/nft/elements.h"
#include "agent/firewall/nft/expressions.h"
#include "agent/firewall/nft/nftnl_ptr.h"
#include "common/status.h"

namespace postern::nft {
namespace {

// The kernel's limits (nf_tables.h): expressions of a rule (one fewer than
// NFT_RULE_MAXEXPRS), bytes of a name (NFT_NAME_MAXLEN) and of a key
// (NFT_DATA_VALUE_MAXLEN).
constexpr size_t kMaxExpressions = 127;
constexpr size_t kMaxName = 255;
constexpr size_t kMaxKey = 64;

// Room for one expression with its longest parts: a name, or a mask and its
// complement.
constexpr size_t kExpressionRoom = 512;
// Room for what describes any other object.
constexpr size_t kObjectRoom = 2048;

// nft's data types (enum datatypes in its datatype.h), 6 bits each in a
// concatenation. The kernel only keeps them for whoever lists the set.
constexpr uint32_t kTypeIpv4 = 7;
constexpr uint32_t kTypeIpv6 = 8;
constexpr uint32_t kTypeProtocol = 12;
constexpr uint32_t kTypePort = 13;
constexpr uint32_t kTypeInterface = 41;
constexpr int kTypeBits = 6;

// What nft(8) notes on a set whose keys are in host order, as it takes the names
// of interfaces to be: an attribute of its own (NFTNL_UDATA_SET_KEYBYTEORDER) of
// 4 bytes with BYTEORDER_HOST_ENDIAN.
constexpr uint8_t kHostOrderKeys[] = {0, 4, 1, 0, 0, 0};

absl::Status Refuse(const Operation& operation, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat(Describe(operation), ": ", why));
}

// Writes operations other than those on elements, which come in runs.
class Writer {
 public:
  Writer(const Capabilities& capabilities, const TimeoutClock& clock, Batch& batch)
      : capabilities_(capabilities), clock_(clock), batch_(batch) {}

  // The operation that the next messages come from, for messages and numbers.
  void Enter(size_t index, const Operation& operation) {
    index_ = index;
    operation_ = &operation;
  }

  void RemoveTable() {
    // Adding one that is there changes nothing, so the deletion always finds it.
    // A message without flags leaves those of a standing table alone, whatever
    // made it.
    PutTable(NFT_MSG_NEWTABLE);
    PutTable(NFT_MSG_DELTABLE);
  }

  absl::Status operator()(const ReplaceTable&) {
    RemoveTable();
    PutTable(NFT_MSG_NEWTABLE, capabilities_.protects_tables ? kProtectedTable : 0);
    return absl::OkStatus();
  }

  absl::Status operator()(const AddChain& add) {
    POSTERN_RETURN_IF_ERROR(CheckName(add.name));
    const auto chain = Own<ChainPtr>(nftnl_chain_alloc());
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TABLE, kTableName);
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_NAME, add.name.c_str());
    if (add.base.has_value()) {
      nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TYPE, "filter");
      nftnl_chain_set_u32(
          chain.get(), NFTNL_CHAIN_HOOKNUM,
          add.base->hook == Hook::kPrerouting ? NF_INET_PRE_ROUTING : NF_INET_POST_ROUTING);
      nftnl_chain_set_s32(chain.get(), NFTNL_CHAIN_PRIO, add.base->priority);
      nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
    }
    nftnl_chain_nlmsg_build_payload(Start(NFT_MSG_NEWCHAIN, NLM_F_CREATE), chain.get());
    return absl::OkStatus();
  }

  absl::Status operator()(const FlushChain& flush) {
    POSTERN_RETURN_IF_ERROR(CheckName(flush.name));
    const RulePtr rule = NewRule(flush.name);
    nftnl_rule_nlmsg_build_payload(Start(NFT_MSG_DELRULE, 0), rule.get());
    return absl::OkStatus();
  }

  absl::Status operator()(const AddRule& add) {
    POSTERN_RETURN_IF_ERROR(CheckName(add.rule.chain));
    const RulePtr rule = NewRule(add.rule.chain);
    size_t count = 0;
    for (const Expression& expression : add.rule.expressions) {
      if (!Fits(expression)) return Refuse(*operation_, "a name or a value in it is too long");
      const size_t more = KernelExpressions(expression, capabilities_);
      if (more == 0) continue;
      count += more;
      if (count > kMaxExpressions) break;
      AppendExpression(expression, rule.get());
    }
    if (count > kMaxExpressions) {
      return Refuse(*operation_, absl::StrCat("more than the ", kMaxExpressions,
                                              " expressions a rule can have"));
    }
    nlmsghdr* message = batch_.Add(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, index_,
                                   kObjectRoom + count * kExpressionRoom);
    nftnl_rule_nlmsg_build_payload(message, rule.get());
    return absl::OkStatus();
  }

  absl::Status operator()(const AddCounter& add) {
    POSTERN_RETURN_IF_ERROR(CheckName(add.name));
    const auto object = Own<ObjectPtr>(nftnl_obj_alloc());
    nftnl_obj_set_str(object.get(), NFTNL_OBJ_TABLE, kTableName);
    nftnl_obj_set_str(object.get(), NFTNL_OBJ_NAME, add.name.c_str());
    nftnl_obj_set_u32(object.get(), NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
    nftnl_obj_nlmsg_build_payload(Start(NFT_MSG_NEWOBJ, NLM_F_CREATE), object.get());
    return absl::OkStatus();
  }

  absl::Status operator()(const AddSet& add) {
    const SetPtr set = NewAccessSet(add.id.Name(), add.id.family);
    nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, NFT_SET_TIMEOUT);
    PutSet(set.get());
    return absl::OkStatus();
  }

  absl::Status operator()(const AddDeniedSet& add) {
    const SetPtr set = NewAccessSet(DeniedSetName(add.family, add.enforce), add.family);
    nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, NFT_SET_TIMEOUT | NFT_SET_EVAL);
    nftnl_set_set_u64(set.get(), NFTNL_SET_TIMEOUT,
                      static_cast<uint64_t>(absl::ToInt64Milliseconds(kDeniedFor)));
    nftnl_set_set_u32(set.get(), NFTNL_SET_DESC_SIZE, kMaxDenied);
    PutSet(set.get());
    AppendDeniedElements(add, index_, batch_);
    return absl::OkStatus();
  }

  absl::Status operator()(const DeleteSet& remove) {
    const auto set = Own<SetPtr>(nftnl_set_alloc());
    nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, kTableName);
    nftnl_set_set_str(set.get(), NFTNL_SET_NAME, remove.id.Name().c_str());
    nftnl_set_nlmsg_build_payload(Start(NFT_MSG_DELSET, 0), set.get());
    return absl::OkStatus();
  }

  absl::Status operator()(const AddConstantSet& add) {
    POSTERN_RETURN_IF_ERROR(CheckKeys(add.name, add.key_length, add.elements));
    const SetPtr set = NewKeySet(add.name, add.key_type, add.key_length, NFT_SET_CONSTANT);
    if (add.key_type == kTypeInterface) {
      nftnl_set_set_data(set.get(), NFTNL_SET_USERDATA, kHostOrderKeys, sizeof kHostOrderKeys);
    }
    PutSet(set.get());
    AppendConstantElements(add, index_, batch_);
    return absl::OkStatus();
  }

  absl::Status operator()(const AddTimedSet& add) {
    POSTERN_RETURN_IF_ERROR(CheckKeys(add.name, add.key_length, add.elements));
    PutSet(NewKeySet(add.name, add.key_type, add.key_length, NFT_SET_TIMEOUT).get());
    AppendTimedElements(add, clock_, index_, batch_);
    return absl::OkStatus();
  }

  absl::Status operator()(const PutElement&) { return absl::OkStatus(); }
  absl::Status operator()(const RemoveElement&) { return absl::OkStatus(); }

 private:
  nlmsghdr* Start(uint16_t type, uint16_t flags) {
    return batch_.Add(type, flags, index_, kObjectRoom);
  }

  absl::Status CheckName(const std::string& name) const {
    if (name.size() <= kMaxName) return absl::OkStatus();
    return Refuse(*operation_, absl::StrCat("a name has at most ", kMaxName, " bytes"));
  }

  absl::Status CheckKeys(const std::string& name, uint32_t length,
                         const std::vector<Bytes>& keys) const {
    POSTERN_RETURN_IF_ERROR(CheckName(name));
    if (length == 0 || length > kMaxKey) {
      return Refuse(*operation_, absl::StrCat("a key has 1 to ", kMaxKey, " bytes, not ", length));
    }
    for (const Bytes& key : keys) {
      if (key.size() == length) continue;
      return Refuse(*operation_,
                    absl::StrCat("a key of ", key.size(), " bytes in a set of ", length));
    }
    return absl::OkStatus();
  }

  void PutTable(uint16_t type, uint32_t flags = 0) {
    const auto table = Own<TablePtr>(nftnl_table_alloc());
    nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, kTableName);
    if (flags != 0) nftnl_table_set_u32(table.get(), NFTNL_TABLE_FLAGS, flags);
    nftnl_table_nlmsg_build_payload(Start(type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0),
                                    table.get());
  }

  static RulePtr NewRule(const std::string& chain) {
    auto rule = Own<RulePtr>(nftnl_rule_alloc());
    nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, kTableName);
    nftnl_rule_set_str(rule.get(), NFTNL_RULE_CHAIN, chain.c_str());
    return rule;
  }

  SetPtr NewSet(const std::string& name) {
    auto set = Own<SetPtr>(nftnl_set_alloc());
    nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, kTableName);
    nftnl_set_set_str(set.get(), NFTNL_SET_NAME, name.c_str());
    // The kernel asks for a number, to refer to the set within the transaction;
    // we refer by name.
    nftnl_set_set_u32(set.get(), NFTNL_SET_ID, ++last_set_);
    return set;
  }

  SetPtr NewKeySet(const std::string& name, uint32_t type, uint32_t length, uint32_t flags) {
    SetPtr set = NewSet(name);
    nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, flags);
    nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, type);
    nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, length);
    return set;
  }

  // Of keys that are an address, a protocol and a port.
  SetPtr NewAccessSet(const std::string& name, Family family) {
    const bool ipv4 = family == Family::kIpv4;
    const uint32_t address = ipv4 ? kTypeIpv4 : kTypeIpv6;
    SetPtr set = NewSet(name);
    nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE,
                      ((address << kTypeBits | kTypeProtocol) << kTypeBits) | kTypePort);
    nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, ipv4 ? 12 : 24);
    // Each new element gets its own copy. Not `last` beside it: nft(8) before 1.0.8,
    // Debian 12's among them, crashes on any listing that meets one.
    nftnl_set_add_expr(set.get(), NewExpression("counter").release());
    return set;
  }

  void PutSet(nftnl_set* set) {
    nftnl_set_nlmsg_build_payload(Start(NFT_MSG_NEWSET, NLM_F_CREATE), set);
  }

  const Capabilities& capabilities_;
  const TimeoutClock& clock_;
  Batch& batch_;
  size_t index_ = 0;
  const Operation* operation_ = nullptr;
  uint32_t last_set_ = 0;
};

bool IsAboutElements(const Operation& operation) {
  return std::holds_alternative<PutElement>(operation) ||
         std::holds_alternative<RemoveElement>(operation);
}

}  // namespace

absl::Status Encode(const Transaction& transaction, const Capabilities& capabilities,
                    const TimeoutClock& clock, uint32_t first_sequence, Batch& batch) {
  batch.Begin(first_sequence);
  Writer writer(capabilities, clock, batch);
  for (size_t i = 0; i < transaction.size();) {
    if (IsAboutElements(transaction[i])) {
      i = AppendElements(transaction, i, capabilities, clock, batch);
      continue;
    }
    writer.Enter(i, transaction[i]);
    POSTERN_RETURN_IF_ERROR(std::visit(writer, transaction[i]));
    ++i;
  }
  batch.End();
  return absl::OkStatus();
}

void EncodeRemoval(uint32_t first_sequence, Batch& batch) {
  batch.Begin(first_sequence);
  Writer({}, {}, batch).RemoveTable();
  batch.End();
}

}  // namespace postern::nft

#include "agent/firewall/nft/capabilities.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "agent/firewall/builder.h"
#include "agent/firewall/nft/batch.h"
#include "agent/firewall/nft/expressions.h"
#include "agent/firewall/nft/nftnl_ptr.h"
#include "agent/firewall/nft/read.h"
#include "agent/firewall/nft/requests.h"
#include "agent/firewall/nft/socket.h"
#include "common/status.h"

namespace postern::nft {
namespace {

constexpr char kSet[] = "s";
constexpr char kChain[] = "c";
constexpr size_t kRoom = 512;
constexpr uint64_t kFirstMilliseconds = 3'600'000;
constexpr uint64_t kSecondMilliseconds = 2 * kFirstMilliseconds;
// What one hour is after the update, if there was one.
constexpr uint64_t kBetween = kFirstMilliseconds + kFirstMilliseconds / 2;

// The element that is put, and one that never is.
constexpr uint32_t kPresent = 1;
constexpr uint32_t kMissing = 2;

class Prober {
 public:
  explicit Prober(Socket& socket)
      : socket_(socket), table_(absl::StrCat("postern-probe-", getpid())) {}

  absl::StatusOr<Capabilities> Run() {
    POSTERN_RETURN_IF_ERROR(MustCommit("make the table of a trial", [this] {
      // Whatever a process of the same number may have left is replaced.
      PutTable(NFT_MSG_NEWTABLE);
      PutTable(NFT_MSG_DELTABLE);
      PutTable(NFT_MSG_NEWTABLE);
      PutSet();
      PutElement(NFT_MSG_NEWSETELEM, kPresent, kFirstMilliseconds);
    }));
    absl::StatusOr<Capabilities> found = Try();
    POSTERN_RETURN_IF_ERROR(
        MustCommit("remove the table of a trial", [this] { PutTable(NFT_MSG_DELTABLE); }));
    if (!found.ok()) return found;
    POSTERN_ASSIGN_OR_RETURN(found->protects_tables, TryProtection());
    POSTERN_ASSIGN_OR_RETURN(found->limits_rates, TryExpression(Limit{1, absl::Seconds(1), 1}));
    POSTERN_ASSIGN_OR_RETURN(found->logs_packets, TryExpression(SendToLog{kDeniedLogGroup}));
    return found;
  }

 private:
  absl::StatusOr<Capabilities> Try() {
    POSTERN_ASSIGN_OR_RETURN(const std::optional<KernelError> refused, Commit([this] {
                               PutElement(NFT_MSG_NEWSETELEM, kPresent, kSecondMilliseconds);
                               PutElement(kDestroySetElement, kMissing, 0);
                             }));
    // Kernels without the one have not the other either.
    if (refused.has_value()) return Capabilities{};
    Capabilities found{.destroys_elements = true};
    Request get = Request::GetElement(kSet, KeyBytes(kPresent), table_.c_str());
    POSTERN_ASSIGN_OR_RETURN(
        const int error, socket_.Read(
                             get.message(), [] {},
                             [&found](const nlmsghdr& message) {
                               ForEachElement(message, [&found](const RawElement& element) {
                                 found.updates_in_place = element.expiration.value_or(0) > kBetween;
                               });
                             }));
    if (error != 0) return KernelStatus(error, absl::StrCat("read back from table ", table_));
    return found;
  }

  // Makes and deletes a table in one transaction, so that nothing can stay.
  absl::StatusOr<bool> TryProtection() {
    POSTERN_ASSIGN_OR_RETURN(const std::optional<KernelError> refused, Commit([this] {
                               PutTable(NFT_MSG_NEWTABLE, kProtectedTable);
                               PutTable(NFT_MSG_DELTABLE);
                             }));
    return !refused.has_value();
  }

  // The same, with a rule of one expression.
  absl::StatusOr<bool> TryExpression(const Expression& expression) {
    POSTERN_ASSIGN_OR_RETURN(const std::optional<KernelError> refused, Commit([&] {
                               PutTable(NFT_MSG_NEWTABLE);
                               PutChain();
                               PutRule(expression);
                               PutTable(NFT_MSG_DELTABLE);
                             }));
    return !refused.has_value();
  }

  absl::StatusOr<std::optional<KernelError>> Commit(absl::FunctionRef<void()> fill) {
    batch_.Begin(socket_.next_sequence());
    fill();
    batch_.End();
    socket_.TakeSequences(static_cast<uint32_t>(batch_.size()) + 2);
    return socket_.Transact(batch_);
  }

  absl::Status MustCommit(absl::string_view what, absl::FunctionRef<void()> fill) {
    POSTERN_ASSIGN_OR_RETURN(const std::optional<KernelError> refused, Commit(fill));
    if (!refused.has_value()) return absl::OkStatus();
    return KernelStatus(refused->number, absl::StrCat(what, ", ", table_));
  }

  static Bytes KeyBytes(uint32_t key) { return {0, 0, 0, static_cast<uint8_t>(key)}; }

  void PutTable(uint16_t type, uint32_t flags = 0) {
    const auto table = Own<TablePtr>(nftnl_table_alloc());
    nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, table_.c_str());
    if (flags != 0) nftnl_table_set_u32(table.get(), NFTNL_TABLE_FLAGS, flags);
    nftnl_table_nlmsg_build_payload(
        batch_.Add(type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0, 0, kRoom), table.get());
  }

  void PutChain() {
    const auto chain = Own<ChainPtr>(nftnl_chain_alloc());
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TABLE, table_.c_str());
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_NAME, kChain);
    nftnl_chain_nlmsg_build_payload(batch_.Add(NFT_MSG_NEWCHAIN, NLM_F_CREATE, 0, kRoom),
                                    chain.get());
  }

  void PutRule(const Expression& expression) {
    const auto rule = Own<RulePtr>(nftnl_rule_alloc());
    nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, table_.c_str());
    nftnl_rule_set_str(rule.get(), NFTNL_RULE_CHAIN, kChain);
    AppendExpression(expression, rule.get());
    nftnl_rule_nlmsg_build_payload(
        batch_.Add(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, 0, kRoom), rule.get());
  }

  SetPtr NewSet() {
    auto set = Own<SetPtr>(nftnl_set_alloc());
    nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table_.c_str());
    nftnl_set_set_str(set.get(), NFTNL_SET_NAME, kSet);
    return set;
  }

  void PutSet() {
    const SetPtr set = NewSet();
    nftnl_set_set_u32(set.get(), NFTNL_SET_ID, 1);
    nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, NFT_SET_TIMEOUT);
    nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, sizeof(uint32_t));
    nftnl_set_nlmsg_build_payload(batch_.Add(NFT_MSG_NEWSET, NLM_F_CREATE, 0, kRoom), set.get());
  }

  // Without a timeout the element is named by its key alone.
  void PutElement(uint16_t type, uint32_t key, uint64_t timeout) {
    const SetPtr set = NewSet();
    nftnl_set_elem* element = nftnl_set_elem_alloc();
    if (element == nullptr) std::abort();
    nftnl_set_elem_add(set.get(), element);
    const Bytes bytes = KeyBytes(key);
    nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, bytes.data(), sizeof(uint32_t));
    if (timeout != 0) {
      nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_TIMEOUT, timeout);
      nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_EXPIRATION, timeout);
    }
    nftnl_set_elems_nlmsg_build_payload(
        batch_.Add(type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0, 0, kRoom), set.get());
  }

  Socket& socket_;
  const std::string table_;
  Batch batch_;
};

}  // namespace

absl::StatusOr<Capabilities> Probe(Socket& socket) { return Prober(socket).Run(); }

}  // namespace postern::nft

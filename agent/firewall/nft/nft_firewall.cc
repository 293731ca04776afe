#include "agent/firewall/nft/nft_firewall.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <iterator>
#include <string>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "agent/firewall/builder.h"
#include "agent/firewall/nft/encode.h"
#include "agent/firewall/nft/read.h"
#include "agent/firewall/nft/requests.h"
#include "agent/firewall/nft/timeout.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

using nft::KernelError;
using nft::KernelStatus;
using nft::RawElement;
using nft::ReadTimeoutClock;
using nft::Request;
using nft::TicksBetween;
using nft::TimeoutClock;

// Without update in place, an element that expires while the kernel works on the
// batch can fail it. It has expired by the next attempt.
constexpr int kMaxAttempts = 4;

// Few enough to be done well within a tick, so that few pieces are interrupted
// by one.
constexpr size_t kEndsAtOnce = 64;
constexpr int kMaxSendsPerPiece = 4;

// The ends that hold after `transaction`: of each element that it puts, where
// nothing after that takes the element away again.
std::vector<PutElement> LastingEnds(const Transaction& transaction) {
  std::vector<PutElement> ends;
  if (std::none_of(transaction.begin(), transaction.end(), [](const Operation& operation) {
        return std::holds_alternative<PutElement>(operation);
      })) {
    return ends;
  }
  absl::flat_hash_set<std::pair<SetId, AccessKey>> later;
  absl::flat_hash_set<SetId> deleted;
  for (auto it = transaction.rbegin(); it != transaction.rend(); ++it) {
    if (std::holds_alternative<ReplaceTable>(*it)) break;
    if (const auto* remove = std::get_if<DeleteSet>(&*it)) deleted.insert(remove->id);
    if (const auto* remove = std::get_if<RemoveElement>(&*it)) {
      later.insert({remove->set, remove->key});
    }
    if (const auto* put = std::get_if<PutElement>(&*it)) {
      if (later.insert({put->set, put->key}).second && !deleted.contains(put->set)) {
        ends.push_back(*put);
      }
    }
  }
  return ends;
}

void NoRestart() {}

}  // namespace

absl::StatusOr<std::unique_ptr<NftFirewall>> NftFirewall::Open() {
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<nft::Socket> socket, nft::Socket::Open());
  POSTERN_ASSIGN_OR_RETURN(const nft::Capabilities capabilities, nft::Probe(*socket));
  return std::unique_ptr<NftFirewall>(new NftFirewall(std::move(socket), capabilities));
}

absl::StatusOr<std::unique_ptr<NftFirewall>> NftFirewall::Open(
    const nft::Capabilities& capabilities) {
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<nft::Socket> socket, nft::Socket::Open());
  return std::unique_ptr<NftFirewall>(new NftFirewall(std::move(socket), capabilities));
}

absl::Status NftFirewall::RemoveTable() {
  nft::EncodeRemoval(socket_->next_sequence(), batch_);
  // The batch's header and its end have numbers, too.
  socket_->TakeSequences(static_cast<uint32_t>(batch_.size()) + 2);
  POSTERN_ASSIGN_OR_RETURN(const std::optional<KernelError> error, socket_->Transact(batch_));
  if (!error.has_value()) return absl::OkStatus();
  const std::string what = absl::StrCat("remove table inet ", kTableName);
  if (error->number != EPERM || error->sequence == batch_.first_sequence()) {
    return KernelStatus(error->number, what);
  }
  return absl::UnavailableError(
      absl::StrCat(nft::KernelMessage(EPERM, what), "; another process owns it"));
}

absl::Status NftFirewall::Commit(const Transaction& transaction) {
  const TimeoutClock before = ReadTimeoutClock();
  POSTERN_RETURN_IF_ERROR(CommitCountedFrom(transaction, before));
  batch_.Shrink();
  // The kernel counts each timeout from the tick in which it comes to the element.
  // In a batch that took long, the last elements would end that much too late.
  if (TicksBetween(before, ReadTimeoutClock()) > 0) SendEndsAgain(transaction);
  return absl::OkStatus();
}

absl::Status NftFirewall::CommitCountedFrom(const Transaction& transaction,
                                            const TimeoutClock& clock) {
  bool element_expired = false;
  absl::Status status = CommitOnce(transaction, clock, element_expired);
  for (int i = 1; i < kMaxAttempts && element_expired; ++i) {
    status = CommitOnce(transaction, ReadTimeoutClock(), element_expired);
  }
  return status;
}

absl::Status NftFirewall::CommitOnce(const Transaction& transaction, const TimeoutClock& clock,
                                     bool& element_expired) {
  element_expired = false;
  POSTERN_RETURN_IF_ERROR(
      nft::Encode(transaction, capabilities_, clock, socket_->next_sequence(), batch_));
  if (batch_.empty()) return absl::OkStatus();
  // The batch's header and its end have numbers, too.
  socket_->TakeSequences(static_cast<uint32_t>(batch_.size()) + 2);
  POSTERN_ASSIGN_OR_RETURN(const std::optional<KernelError> error, socket_->Transact(batch_));
  if (!error.has_value()) return absl::OkStatus();
  element_expired = error->number == ENOENT && error->sequence != batch_.first_sequence() &&
                    batch_.TypeOf(error->sequence) == NFT_MSG_DELSETELEM;
  return Explain(transaction, *error);
}

absl::Status NftFirewall::Explain(const Transaction& transaction, const KernelError& error) const {
  if (error.sequence == batch_.first_sequence()) {
    return KernelStatus(error.number, absl::StrCat("commit of ", transaction.size(),
                                                   " operations to table inet ", kTableName));
  }
  const size_t operation = batch_.OperationOf(error.sequence, error.offset);
  const std::string what = Describe(transaction[std::min(operation, transaction.size() - 1)]);
  if (error.number != EPERM) return KernelStatus(error.number, what);
  return absl::UnavailableError(absl::StrCat(nft::KernelMessage(EPERM, what), "; table inet ",
                                             kTableName, " is owned by another process"));
}

void NftFirewall::SendEndsAgain(const Transaction& transaction) {
  const std::vector<PutElement> ends = LastingEnds(transaction);
  for (size_t i = 0; i < ends.size(); i += kEndsAtOnce) {
    const size_t count = std::min(kEndsAtOnce, ends.size() - i);
    const auto first = ends.begin() + static_cast<std::ptrdiff_t>(i);
    const Transaction piece(first, first + static_cast<std::ptrdiff_t>(count));
    for (int sent = 0; sent < kMaxSendsPerPiece; ++sent) {
      const TimeoutClock before = ReadTimeoutClock();
      // The change itself is made. Where somebody has taken away its set since,
      // there is no end left to correct.
      if (!CommitCountedFrom(piece, before).ok()) return;
      if (TicksBetween(before, ReadTimeoutClock()) == 0) break;
    }
  }
}

absl::StatusOr<bool> NftFirewall::HasTable() {
  bool found = false;
  POSTERN_ASSIGN_OR_RETURN(const int error,
                           socket_->Read(Request::GetTable().message(), NoRestart,
                                         [&found](const nlmsghdr&) { found = true; }));
  if (error != 0 && error != ENOENT) {
    return KernelStatus(error, absl::StrCat("read table inet ", kTableName));
  }
  return found;
}

absl::StatusOr<bool> NftFirewall::OwnsTable() {
  std::optional<uint32_t> protector;
  POSTERN_ASSIGN_OR_RETURN(const int error, socket_->Read(Request::GetTable().message(), NoRestart,
                                                          [&protector](const nlmsghdr& message) {
                                                            protector =
                                                                nft::ParseProtector(message);
                                                          }));
  if (error != 0 && error != ENOENT) {
    return KernelStatus(error, absl::StrCat("read table inet ", kTableName));
  }
  return protector == port();
}

absl::StatusOr<std::vector<SetId>> NftFirewall::ReadSets() {
  std::vector<SetId> sets;
  POSTERN_ASSIGN_OR_RETURN(const int error,
                           socket_->Read(
                               Request::ListSets().message(), [&sets] { sets.clear(); },
                               [&sets](const nlmsghdr& message) {
                                 const std::optional<SetId> set = nft::ParseSet(message);
                                 if (set.has_value()) sets.push_back(*set);
                               }));
  if (error != 0 && error != ENOENT) {
    return KernelStatus(error, absl::StrCat("list the sets of table inet ", kTableName));
  }
  return sets;
}

absl::StatusOr<std::vector<InstalledElement>> NftFirewall::ReadElements(const SetId& set) {
  return ReadNamedSet(set.Name(), set);
}

absl::StatusOr<std::vector<InstalledElement>> NftFirewall::ReadNamedSet(const std::string& name,
                                                                        const SetId& keys) {
  std::vector<InstalledElement> elements;
  // The kernel may show an element twice when its hash table grows meanwhile.
  absl::flat_hash_set<AccessKey> seen;
  POSTERN_ASSIGN_OR_RETURN(const int error,
                           socket_->Read(
                               Request::ListElements(name).message(),
                               [&] {
                                 elements.clear();
                                 seen.clear();
                               },
                               [&](const nlmsghdr& message) {
                                 nft::ForEachElement(message, [&](const RawElement& raw) {
                                   const std::optional<InstalledElement> element =
                                       nft::ParseElement(raw, keys);
                                   if (element.has_value() && seen.insert(element->key).second) {
                                     elements.push_back(*element);
                                   }
                                 });
                               }));
  if (error == ENOENT) return absl::NotFoundError(absl::StrCat("there is no set ", name));
  if (error != 0) return KernelStatus(error, absl::StrCat("read set ", name));
  return elements;
}

absl::StatusOr<std::optional<InstalledElement>> NftFirewall::ReadElement(const SetId& set,
                                                                         const AccessKey& key) {
  std::optional<InstalledElement> found;
  const std::string name = set.Name();
  POSTERN_ASSIGN_OR_RETURN(const int error,
                           socket_->Read(Request::GetElement(name, ElementKey(key)).message(),
                                         NoRestart, [&](const nlmsghdr& message) {
                                           nft::ForEachElement(message, [&](const RawElement& raw) {
                                             found = nft::ParseElement(raw, set);
                                           });
                                         }));
  if (error != 0 && error != ENOENT) {
    return KernelStatus(error, absl::StrCat("read ", key.ToString(), " in set ", name));
  }
  return found;
}

absl::StatusOr<std::vector<Flow>> NftFirewall::ReadOlderFlows() {
  std::vector<Flow> flows;
  POSTERN_RETURN_IF_ERROR(ReadFlows(kOlderIpv4Set, flows));
  POSTERN_RETURN_IF_ERROR(ReadFlows(kOlderIpv6Set, flows));
  return flows;
}

absl::Status NftFirewall::ReadFlows(const char* set, std::vector<Flow>& flows) {
  const size_t before = flows.size();
  POSTERN_ASSIGN_OR_RETURN(const int error,
                           socket_->Read(
                               Request::ListElements(set).message(), [&] { flows.resize(before); },
                               [&](const nlmsghdr& message) {
                                 nft::ForEachElement(message, [&](const RawElement& raw) {
                                   const std::optional<Flow> flow = nft::ParseFlow(raw.key);
                                   if (flow.has_value()) flows.push_back(*flow);
                                 });
                               }));
  if (error == 0 || error == ENOENT) return absl::OkStatus();
  return KernelStatus(error, absl::StrCat("read set ", set));
}

absl::StatusOr<std::vector<InstalledElement>> NftFirewall::ReadDenied(bool enforce) {
  std::vector<InstalledElement> denied;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    // As if each were granted by its address alone.
    const SetId keys = {.family = family,
                        .prefix_length = static_cast<uint8_t>(AddressBits(family))};
    absl::StatusOr<std::vector<InstalledElement>> elements =
        ReadNamedSet(DeniedSetName(family, enforce), keys);
    if (absl::IsNotFound(elements.status())) continue;
    POSTERN_RETURN_IF_ERROR(elements.status());
    std::move(elements->begin(), elements->end(), std::back_inserter(denied));
  }
  return denied;
}

absl::StatusOr<Counter> NftFirewall::ReadCounter(absl::string_view name) {
  const std::string what = absl::StrCat("read counter ", Printable(name));
  std::optional<Counter> counter;
  POSTERN_ASSIGN_OR_RETURN(
      const int error,
      socket_->Read(Request::GetCounter(std::string(name)).message(), NoRestart,
                    [&](const nlmsghdr& message) { counter = nft::ParseCounter(message); }));
  if (error == ENOENT) return absl::NotFoundError(nft::KernelMessage(error, what));
  if (error != 0) return KernelStatus(error, what);
  if (!counter.has_value())
    return absl::UnavailableError(absl::StrCat(what, ": no value in the answer"));
  return *counter;
}

}  // namespace postern

#include "agent/enforcer/programmer.h"

#include <algorithm>
#include <iterator>
#include <optional>

namespace postern {
namespace {

constexpr absl::Duration kKeepEmptySet = absl::Minutes(1);

std::set<SetId> Keys(const std::map<SetId, size_t>& sizes) {
  std::set<SetId> keys;
  for (const auto& [id, size] : sizes) keys.insert(id);
  return keys;
}

SetId SetOf(const std::pair<AccessKey, Admission>& element) {
  return SetOf(element.first, element.second);
}

void AppendMoved(Transaction& to, Transaction from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

absl::Status Programmer::Rebuild(const GateOptions& gate, const std::vector<Flow>& older,
                                 const std::vector<InstalledElement>& denied, BootTime now) {
  absl::flat_hash_map<Element, BootTime> installed;
  std::map<SetId, size_t> sizes;
  for (const auto& [id, grant] : ledger_.grants()) {
    for (const AccessKey& key : KeysOf(grant)) {
      const Element element = {key, AdmissionOf(grant.on_expiry)};
      const std::optional<BootTime> end = ledger_.WantedEnd(key, element.second);
      if (!end || *end <= now) continue;
      if (installed.emplace(element, *end).second) ++sizes[SetOf(element)];
    }
  }
  Transaction transaction = BuildTable(gate, Keys(sizes), older, denied);
  transaction.reserve(transaction.size() + installed.size());
  for (const auto& [element, end] : installed) {
    transaction.emplace_back(PutElement{SetOf(element), element.first, end});
  }
  if (absl::Status status = firewall_.Commit(transaction); !status.ok()) return status;
  gate_ = gate;
  installed_ = std::move(installed);
  set_sizes_.clear();
  empty_since_.clear();
  TakeSizes(std::move(sizes), now);
  return absl::OkStatus();
}

absl::Status Programmer::Apply(const std::vector<AccessKey>& keys, BootTime now) {
  Difference difference = Compare(keys, now);
  std::map<SetId, size_t> sizes = SizesAfter(difference);
  SetChange sets = ChangeSets(gate_, Keys(set_sizes_), Keys(sizes));

  Transaction transaction = std::move(sets.before_elements);
  AppendMoved(transaction, std::move(difference.elements));
  AppendMoved(transaction, std::move(sets.after_elements));
  if (!transaction.empty()) {
    if (absl::Status status = firewall_.Commit(transaction); !status.ok()) return status;
  }
  for (const Element& element : difference.gone) installed_.erase(element);
  for (const auto& [element, end] : difference.put) installed_[element] = end;
  TakeSizes(std::move(sizes), now);
  return absl::OkStatus();
}

absl::Status Programmer::Retime(BootTime now) {
  Transaction transaction;
  for (const auto& [element, end] : installed_) {
    if (end > now) transaction.emplace_back(PutElement{SetOf(element), element.first, end});
  }
  return transaction.empty() ? absl::OkStatus() : firewall_.Commit(transaction);
}

absl::Status Programmer::Prune(BootTime now) {
  std::map<SetId, size_t> kept = set_sizes_;
  for (const auto& [id, since] : empty_since_) {
    if (since + kKeepEmptySet <= now) kept.erase(id);
  }
  if (kept.size() == set_sizes_.size()) return absl::OkStatus();
  SetChange sets = ChangeSets(gate_, Keys(set_sizes_), Keys(kept));
  Transaction transaction = std::move(sets.before_elements);
  AppendMoved(transaction, std::move(sets.after_elements));
  if (absl::Status status = firewall_.Commit(transaction); !status.ok()) return status;
  TakeSizes(std::move(kept), now);
  return absl::OkStatus();
}

std::optional<BootTime> Programmer::NextPrune() const {
  std::optional<BootTime> next;
  for (const auto& [id, since] : empty_since_) {
    next = std::min(next.value_or(since + kKeepEmptySet), since + kKeepEmptySet);
  }
  return next;
}

void Programmer::TakeSizes(std::map<SetId, size_t> sizes, BootTime now) {
  set_sizes_ = std::move(sizes);
  std::erase_if(empty_since_, [this](const auto& empty) {
    const auto size = set_sizes_.find(empty.first);
    return size == set_sizes_.end() || size->second > 0;
  });
  for (const auto& [id, size] : set_sizes_) {
    if (size == 0) empty_since_.emplace(id, now);
  }
}

Programmer::Difference Programmer::Compare(const std::vector<AccessKey>& keys, BootTime now) const {
  Difference difference;
  const std::set<AccessKey> distinct(keys.begin(), keys.end());
  for (const AccessKey& key : distinct) {
    CompareOne({key, Admission::kKeep}, now, difference);
    CompareOne({key, Admission::kCut}, now, difference);
  }
  return difference;
}

void Programmer::CompareOne(const Element& element, BootTime now, Difference& difference) const {
  const std::optional<BootTime> wanted = ledger_.WantedEnd(element.first, element.second);
  const auto installed = installed_.find(element);
  if (wanted && *wanted > now) {
    if (installed != installed_.end() && installed->second == *wanted) return;
    difference.elements.emplace_back(PutElement{SetOf(element), element.first, *wanted});
    difference.put.emplace(element, *wanted);
    return;
  }
  if (installed == installed_.end()) return;
  // Also what has run out by our clock: the kernel's timeouts do not count the
  // time that the machine slept.
  difference.elements.emplace_back(RemoveElement{SetOf(element), element.first});
  difference.gone.push_back(element);
}

std::map<SetId, size_t> Programmer::SizesAfter(const Difference& difference) const {
  std::map<SetId, size_t> sizes = set_sizes_;
  for (const auto& [element, end] : difference.put) {
    if (!installed_.contains(element)) ++sizes[SetOf(element)];
  }
  for (const Element& element : difference.gone) --sizes[SetOf(element)];
  return sizes;
}

}  // namespace postern

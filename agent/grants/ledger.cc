#include "agent/grants/ledger.h"

#include <cstdint>

#include "absl/strings/string_view.h"

namespace postern {
namespace {

// The first claim whose deadline is after `time`. A claim is a deadline and a
// pointer, and no pointer is greater than the greatest one.
template <typename Claims>
auto FirstAfter(const Claims& claims, BootTime time) {
  return claims.upper_bound({time, reinterpret_cast<const Grant*>(UINTPTR_MAX)});
}

}  // namespace

const Grant* Ledger::Find(absl::string_view id) const {
  const auto it = grants_.find(absl::string_view(id.data(), id.size()));
  return it == grants_.end() ? nullptr : &it->second;
}

void Ledger::Put(Grant grant) {
  Remove(grant.id);
  const std::string id = grant.id;
  const auto it = grants_.emplace(id, std::move(grant)).first;
  AddClaims(it->second);
}

void Ledger::Remove(absl::string_view id) {
  const auto it = grants_.find(absl::string_view(id.data(), id.size()));
  if (it == grants_.end()) return;
  DropClaims(it->second);
  grants_.erase(it);
}

void Ledger::AddClaims(const Grant& grant) {
  const bool keep = AdmissionOf(grant.on_expiry) == Admission::kKeep;
  for (const AccessKey& key : KeysOf(grant)) {
    KeyClaims& claims = claims_[key];
    if (claims.empty()) ++lengths_[{key.source.family(), key.source.length}];
    (keep ? claims.keep : claims.cut).emplace(grant.deadline, &grant);
  }
  by_deadline_.emplace(grant.deadline, &grant);
}

void Ledger::DropClaims(const Grant& grant) {
  const bool keep = AdmissionOf(grant.on_expiry) == Admission::kKeep;
  for (const AccessKey& key : KeysOf(grant)) {
    const auto it = claims_.find(key);
    (keep ? it->second.keep : it->second.cut).erase({grant.deadline, &grant});
    if (!it->second.empty()) continue;
    claims_.erase(it);
    const auto length = lengths_.find({key.source.family(), key.source.length});
    if (--length->second == 0) lengths_.erase(length);
  }
  by_deadline_.erase({grant.deadline, &grant});
}

std::optional<BootTime> Ledger::WantedEnd(const AccessKey& key, Admission admission) const {
  const auto it = claims_.find(key);
  if (it == claims_.end()) return std::nullopt;
  const Claims& claims = admission == Admission::kKeep ? it->second.keep : it->second.cut;
  if (claims.empty()) return std::nullopt;
  return claims.rbegin()->first;
}

const Grant* Ledger::EndingFirst() const {
  return by_deadline_.empty() ? nullptr : by_deadline_.begin()->second;
}

std::optional<BootTime> Ledger::NextDeadlineAfter(BootTime time) const {
  const auto next = FirstAfter(by_deadline_, time);
  if (next == by_deadline_.end()) return std::nullopt;
  return next->first;
}

std::vector<std::string> Ledger::EndingBetween(BootTime from, BootTime to, size_t most) const {
  std::vector<std::string> ids;
  for (auto it = FirstAfter(by_deadline_, from);
       it != by_deadline_.end() && it->first <= to && ids.size() < most; ++it) {
    ids.push_back(it->second->id);
  }
  return ids;
}

void Ledger::SetUsage(absl::string_view id, const Usage& usage) {
  if (const auto it = grants_.find(absl::string_view(id.data(), id.size())); it != grants_.end())
    it->second.usage = usage;
}

std::vector<const Ledger::KeyClaims*> Ledger::Matching(const Address& source, Protocol protocol,
                                                       uint16_t port) const {
  std::vector<const KeyClaims*> matching;
  for (const auto& [length, count] : lengths_) {
    if (length.first != source.family) continue;
    const Prefix prefix{.address = Masked(source, length.second),
                        .length = static_cast<uint8_t>(length.second)};
    const auto it = claims_.find({.source = prefix, .protocol = protocol, .port = port});
    if (it != claims_.end()) matching.push_back(&it->second);
  }
  return matching;
}

const Grant* Ledger::Covering(const Address& source, Protocol protocol, uint16_t port,
                              BootTime now) const {
  const Grant* latest = nullptr;
  for (const KeyClaims* claims : Matching(source, protocol, port)) {
    for (const Claims* kind : {&claims->keep, &claims->cut}) {
      if (kind->empty()) continue;
      const auto& [deadline, grant] = *kind->rbegin();
      if (deadline <= now) continue;
      if (latest == nullptr || deadline > latest->deadline) latest = grant;
    }
  }
  return latest;
}

Coverage Ledger::CoverageOf(const Address& source, Protocol protocol, uint16_t port,
                            BootTime now) const {
  const auto live = [now](const Claims& claims) {
    return !claims.empty() && claims.rbegin()->first > now;
  };
  Coverage coverage = Coverage::kNone;
  for (const KeyClaims* claims : Matching(source, protocol, port)) {
    if (live(claims->keep)) return Coverage::kKeep;
    if (live(claims->cut)) coverage = Coverage::kCut;
  }
  return coverage;
}

}  // namespace postern

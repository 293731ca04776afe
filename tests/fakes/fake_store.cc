#include "tests/fakes/fake_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace postern {

absl::StatusOr<StoredState> FakeStore::Load() {
  StoredState state;
  for (const auto& [id, grant] : grants_) {
    if (grant.state == GrantState::kActive) state.live.push_back(grant);
    if (grant.sessions_pending) state.sessions_pending.push_back(grant);
  }
  state.last_sequence = last_sequence_;
  if (!audit_.empty()) state.last_audit_number = audit_.back().number;
  state.standing = standing_;
  state.last_seen = last_seen_;
  state.clock = clock_;
  if (!audit_.empty()) {
    const absl::Time time = audit_.back().time;
    state.last_seen = std::max(last_seen_.value_or(time), time);
  }
  return state;
}

absl::Status FakeStore::Commit(const std::vector<Write>& writes) {
  if (!commit_failure_.ok()) return commit_failure_;
  uint64_t last_number = audit_.empty() ? 0 : audit_.back().number;
  for (const Write& write : writes) {
    if (write.audit && write.audit->number != ++last_number) {
      return absl::UnavailableError(
          absl::StrCat("audit event ", write.audit->number, " does not follow ", last_number - 1));
    }
  }
  for (const Write& write : writes) {
    if (write.put) {
      grants_.insert_or_assign(write.put->id, *write.put);
      last_sequence_ = std::max(last_sequence_, write.put->sequence);
    }
    if (write.erase) grants_.erase(*write.erase);
    if (write.audit) audit_.push_back(*write.audit);
    for (const std::string& id : write.sessions_ended) {
      if (const auto it = grants_.find(id); it != grants_.end())
        it->second.sessions_pending = false;
    }
    if (write.standing) standing_ = *write.standing;
    if (write.seen) last_seen_ = *write.seen;
    if (write.clock) clock_ = *write.clock;
  }
  ++commits_;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Grant>> FakeStore::FindGrant(absl::string_view id) {
  const auto it = grants_.find(id);
  return it == grants_.end() ? std::nullopt : std::make_optional(it->second);
}

absl::StatusOr<std::vector<Grant>> FakeStore::ListGrants(int64_t after, size_t limit,
                                                         bool include_ended) {
  std::vector<Grant> found;
  for (const auto& [id, grant] : grants_) {
    if (grant.sequence <= after) continue;
    if (include_ended || grant.state == GrantState::kActive) found.push_back(grant);
  }
  std::sort(found.begin(), found.end(),
            [](const Grant& a, const Grant& b) { return a.sequence < b.sequence; });
  found.resize(std::min(found.size(), limit));
  return found;
}

absl::StatusOr<std::vector<AuditEvent>> FakeStore::ListAudit(uint64_t after, absl::Time since,
                                                             size_t limit) {
  std::vector<AuditEvent> found;
  for (const AuditEvent& event : audit_) {
    if (found.size() == limit) break;
    if (event.number > after && event.time >= since) found.push_back(event);
  }
  return found;
}

}  // namespace postern

#include "tests/simulation/disk.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern::simulation {

namespace {

std::optional<AuditKind> In(const std::map<std::string, AuditKind, std::less<>>& kinds,
                            absl::string_view id) {
  const auto it = kinds.find(id);
  if (it == kinds.end()) return std::nullopt;
  return it->second;
}

}  // namespace

bool IsEnd(AuditKind kind) {
  return kind == AuditKind::kGrantExpired || kind == AuditKind::kGrantRevoked;
}

absl::Status SimulatedDisk::Commit(const std::vector<Write>& writes) {
  const Fate fate = io_.Begin("disk");
  absl::Status status;
  if (full_) {
    status = absl::ResourceExhaustedError("the simulated disk is full");
  } else if (broken_ || fate.refused) {
    status = absl::UnavailableError("the simulated disk fails");
  } else if (fate.answer_lost) {
    status = absl::UnavailableError("the simulated disk's answer was lost");
    leftover_ = writes;
  } else {
    leftover_.reset();
    Apply(writes);
  }
  last_failed_ = !status.ok();
  if (last_failed_) ++failures_;
  io_.End(fate, status.ok() ? "" : fate.answer_lost ? "ANSWER LOST" : full_ ? "FULL" : "REFUSED");
  return status;
}

void SimulatedDisk::Apply(const std::vector<Write>& writes) {
  if (absl::Status status = store_.Commit(writes); !status.ok()) {
    throw Violation{absl::StrCat("I4: a transaction that no store takes: ", status.message())};
  }
  for (const Write& write : writes) {
    if (write.audit) {
      last_kinds_[write.audit->grant_id] = write.audit->kind;
      if (IsEnd(write.audit->kind)) last_ends_[write.audit->grant_id] = write.audit->kind;
    }
    if (trusts_ && !trusts_()) continue;
    if (write.audit) last_seen_ = write.audit->time;
    if (write.seen) last_seen_ = *write.seen;
  }
}

void SimulatedDisk::Recover(bool find_leftover) {
  last_failed_ = false;
  leftover_found_ = leftover_ && find_leftover;
  if (leftover_found_) Apply(*leftover_);
  leftover_.reset();
}

absl::Status SimulatedDisk::CheckReading() const {
  if (broken_) return absl::UnavailableError("the simulated disk fails");
  return absl::OkStatus();
}

absl::StatusOr<StoredState> SimulatedDisk::Load() {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return store_.Load();
}

absl::StatusOr<std::optional<Grant>> SimulatedDisk::FindGrant(absl::string_view id) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return store_.FindGrant(id);
}

absl::StatusOr<std::vector<Grant>> SimulatedDisk::ListGrants(int64_t after, size_t limit,
                                                             bool include_ended) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return store_.ListGrants(after, limit, include_ended);
}

absl::StatusOr<std::vector<AuditEvent>> SimulatedDisk::ListAudit(uint64_t after, absl::Time since,
                                                                 size_t limit) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return store_.ListAudit(after, since, limit);
}

const Grant* SimulatedDisk::Find(absl::string_view id) const {
  const auto it = store_.grants().find(id);
  return it == store_.grants().end() ? nullptr : &it->second;
}

uint64_t SimulatedDisk::last_audit_number() const {
  return store_.audit().empty() ? 0 : store_.audit().back().number;
}

std::optional<AuditKind> SimulatedDisk::LastKind(absl::string_view id) const {
  return In(last_kinds_, id);
}

std::optional<AuditKind> SimulatedDisk::LastEnd(absl::string_view id) const {
  return In(last_ends_, id);
}

}  // namespace postern::simulation

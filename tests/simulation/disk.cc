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

SimulatedDisk::SimulatedDisk(Io& io, Random& random, bool files) : io_(io), random_(random) {
  if (files) files_.emplace();
}

void SimulatedDisk::Fill(bool on) {
  full_ = on;
  if (files_) files_->Fill(on);
}

absl::Status SimulatedDisk::Commit(const std::vector<Write>& writes) {
  const Fate fate = io_.Begin("disk");
  const absl::Status status = Try(writes, fate);
  if (status.ok()) {
    leftovers_.clear();
    Apply(writes);
  }
  last_failed_ = !status.ok();
  if (last_failed_) ++failures_;
  io_.End(fate, status.ok() ? "" : fate.answer_lost ? "ANSWER LOST" : full_ ? "FULL" : "REFUSED");
  return status;
}

absl::Status SimulatedDisk::Try(const std::vector<Write>& writes, const Fate& fate) {
  if (broken_) return absl::UnavailableError("the simulated disk fails");
  if (files_) return TryFiles(writes, fate);
  if (full_) return absl::ResourceExhaustedError("the simulated disk is full");
  if (fate.refused) return absl::UnavailableError("the simulated disk fails");
  if (!fate.answer_lost) return absl::OkStatus();
  leftovers_ = {writes};
  return absl::UnavailableError("the simulated disk's answer was lost");
}

absl::Status SimulatedDisk::TryFiles(const std::vector<Write>& writes, const Fate& fate) {
  // A transaction is a few writes and a sync.
  constexpr size_t kChanges = 12;
  if (fate.refused || fate.answer_lost) {
    files_->FailOnce(random_.Below(kChanges), /*done=*/fate.answer_lost);
  }
  if (fate.crash_after && random_.Chance(50)) files_->StopAfter(random_.Below(kChanges));
  const absl::Status status = sqlite_->Commit(writes);
  files_->FailNothing();
  if (!files_->stopped()) {
    if (!status.ok()) leftovers_.push_back(writes);
    return status;
  }
  io_.Tell("CRASH in the middle");
  if (status.ok()) {
    leftovers_.clear();
    Apply(writes);
  } else {
    cut_off_ = writes;
  }
  throw Crash{};
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

void SimulatedDisk::Close() { sqlite_.reset(); }

void SimulatedDisk::Recover(Death death) {
  last_failed_ = false;
  leftover_found_ = false;
  if (files_) {
    RecoverFiles(death);
  } else if (!leftovers_.empty() && random_.Chance(50)) {
    leftover_found_ = true;
    Apply(leftovers_.back());
  }
  leftovers_.clear();
  cut_off_.reset();
}

// As the next start will find it.
void SimulatedDisk::RecoverFiles(Death death) {
  files_->StopAfter(0);
  sqlite_.reset();
  if (death == Death::kPowerCut) {
    files_->PowerOn(random_);
  } else {
    files_->Continue();
  }
  if (absl::Status status = OpenFiles(); !status.ok()) {
    throw Violation{absl::StrCat("I4: the ledger cannot be opened: ", status.message())};
  }
  bool found = FilesHave(store_);
  const auto look_for = [&](const std::vector<Write>& writes) {
    FakeStore with = store_;
    if (found || !with.Commit(writes).ok() || !FilesHave(with)) return false;
    Apply(writes);
    found = true;
    return true;
  };
  if (cut_off_) look_for(*cut_off_);
  for (const std::vector<Write>& writes : leftovers_) {
    leftover_found_ = look_for(writes) || leftover_found_;
  }
  if (!found) throw Violation{"I4: the ledger is neither as it was nor as it was to be"};
  // Not closed, which would tidy up.
  files_->StopAfter(0);
  sqlite_.reset();
  files_->Continue();
}

absl::Status SimulatedDisk::OpenFiles() {
  POSTERN_ASSIGN_OR_RETURN(sqlite_, SqliteStore::Open("/ledger.db"));
  return absl::OkStatus();
}

bool SimulatedDisk::FilesHave(FakeStore& what) {
  constexpr size_t kAll = 1'000'000;
  const StoredState there = sqlite_->Load().value();
  return there.standing == what.standing() && there.clock == what.clock() &&
         there.last_seen == what.Load().value().last_seen &&
         sqlite_->ListGrants(0, kAll, true).value() == what.ListGrants(0, kAll, true).value() &&
         sqlite_->ListAudit(0, absl::InfinitePast(), kAll).value() ==
             what.ListAudit(0, absl::InfinitePast(), kAll).value();
}

absl::Status SimulatedDisk::CheckReading() const {
  if (broken_) return absl::UnavailableError("the simulated disk fails");
  return absl::OkStatus();
}

absl::StatusOr<StoredState> SimulatedDisk::Load() {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  if (!files_) return store_.Load();
  POSTERN_RETURN_IF_ERROR(OpenFiles());
  if (!FilesHave(store_)) throw Violation{"I4: a start finds another ledger"};
  return sqlite_->Load();
}

absl::StatusOr<std::optional<Grant>> SimulatedDisk::FindGrant(absl::string_view id) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return files_ ? sqlite_->FindGrant(id) : store_.FindGrant(id);
}

absl::StatusOr<std::vector<Grant>> SimulatedDisk::ListGrants(int64_t after, size_t limit,
                                                             bool include_ended) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return files_ ? sqlite_->ListGrants(after, limit, include_ended)
                : store_.ListGrants(after, limit, include_ended);
}

absl::StatusOr<std::vector<AuditEvent>> SimulatedDisk::ListAudit(uint64_t after, absl::Time since,
                                                                 size_t limit) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return files_ ? sqlite_->ListAudit(after, since, limit) : store_.ListAudit(after, since, limit);
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

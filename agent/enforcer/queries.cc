// What the gatekeeper tells.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "agent/enforcer/gatekeeper.h"
#include "common/status.h"

namespace postern {
namespace {

// As many refused sources go from one table into the next: more would make the
// batch that closes the gate longer.
constexpr size_t kMostDeniedKept = 1024;

// Those whose last packet is the most recent, the last one first.
void KeepLatest(std::vector<InstalledElement>& denied, size_t most) {
  const auto kept = denied.begin() + static_cast<std::ptrdiff_t>(std::min(most, denied.size()));
  std::partial_sort(denied.begin(), kept, denied.end(),
                    [](const InstalledElement& a, const InstalledElement& b) {
                      return a.remaining != b.remaining ? a.remaining > b.remaining : a.key < b.key;
                    });
  denied.erase(kept, denied.end());
}

}  // namespace

absl::StatusOr<Grant> Gatekeeper::Get(absl::string_view id) {
  // Its end may be due, and the alarm wait behind the question.
  ExpireDue(with_.clock.Read(), {std::string(id)});
  POSTERN_ASSIGN_OR_RETURN(Grant grant, FindAny(id));
  if (grant.state == GrantState::kActive) {
    POSTERN_RETURN_IF_ERROR(usage_.Read(with_.clock.Read(), {&grant}));
  }
  return grant;
}

absl::StatusOr<std::vector<Grant>> Gatekeeper::List(int64_t after, size_t limit,
                                                    bool include_ended) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<Grant> grants,
                           with_.store.ListGrants(after, limit, include_ended));
  std::vector<Grant*> live;
  for (Grant& grant : grants) {
    const Write* waiting = unrecorded_.Find(grant.id);
    if (waiting != nullptr && waiting->put) grant = *waiting->put;
    const Grant* present = ledger_.Find(grant.id);
    if (present == nullptr) continue;
    grant = *present;
    live.push_back(&grant);
  }
  POSTERN_RETURN_IF_ERROR(usage_.Read(with_.clock.Read(), live));
  if (!include_ended) {
    std::erase_if(grants, [](const Grant& g) { return g.state != GrantState::kActive; });
  }
  return grants;
}

absl::StatusOr<std::vector<AuditEvent>> Gatekeeper::Audit(uint64_t after, absl::Time since,
                                                          size_t limit) {
  return with_.store.ListAudit(after, since, limit);
}

AccessAnswer Gatekeeper::Check(const Address& source, Protocol protocol, uint16_t port) const {
  AccessAnswer answer = CheckLedger(source, protocol, port);
  if (!IsTableInDoubt()) return answer;
  const absl::StatusOr<bool> standing = with_.firewall.HasTable();
  if (standing.ok() && !*standing) {
    return {.allowed = true,
            .grant_id = {},
            .end = {},
            .reason =
                "the firewall's table is gone and could not be made again yet: nothing is "
                "guarded"};
  }
  absl::StrAppend(&answer.reason,
                  " (by the ledger; another program changed the firewall's table, and it could not "
                  "be repaired yet)");
  return answer;
}

AccessAnswer Gatekeeper::CheckLedger(const Address& source, Protocol protocol,
                                     uint16_t port) const {
  const std::vector<uint16_t>& guarded = options_.limits.guarded_ports;
  if (std::find(guarded.begin(), guarded.end(), port) == guarded.end()) {
    return {.allowed = true,
            .grant_id = {},
            .end = {},
            .reason = absl::StrCat("port ", port, " is not guarded")};
  }
  for (const Prefix& prefix : options_.gate.always_allow) {
    if (!prefix.Contains(source)) continue;
    return {.allowed = true,
            .grant_id = {},
            .end = {},
            .reason = absl::StrCat(prefix.ToString(), " is always allowed (guard.always_allow)")};
  }
  const BootTime now = with_.clock.Read().boot;
  if (const Grant* grant = ledger_.Covering(source, protocol, port, now)) {
    return {.allowed = true, .grant_id = grant->id, .end = grant->end, .reason = "a grant"};
  }
  const std::string why = absl::StrCat("no live grant covers ", source.ToString(), " on port ",
                                       port, protocol == Protocol::kTcp ? "/tcp" : "/udp");
  if (!options_.gate.enforce) {
    return {.allowed = true,
            .grant_id = {},
            .end = {},
            .reason = absl::StrCat(why, ", but the mode is observe: nothing is dropped")};
  }
  return {.allowed = false, .grant_id = {}, .end = {}, .reason = why};
}

absl::StatusOr<GateStatus> Gatekeeper::Status() {
  POSTERN_ASSIGN_OR_RETURN(const Counter dropped, ReadDropped());
  POSTERN_ASSIGN_OR_RETURN(const bool table_protected, with_.firewall.OwnsTable());
  GateStatus status = KnownStatus();
  status.dropped = {.packets = dropped_before_.packets + dropped.packets,
                    .bytes = dropped_before_.bytes + dropped.bytes};
  status.table_protected = table_protected;
  return status;
}

GateStatus Gatekeeper::KnownStatus() const {
  GateStatus status;
  status.live_grants = ledger_.size();
  status.next_end = NextEnd();
  status.started = started_;
  status.now = with_.clock.Read().wall;
  status.enforced = options_.gate.enforce;
  status.always_allowed = options_.gate.always_allow.size();
  status.standing = standing_;
  status.repairs = repairs_.repairs();
  status.withheld_grants = withheld_.size();
  if (!withheld_.empty()) status.withheld_reason = withheld_reason_;
  status.clock_skew = clock_skew_;
  if (IsTableInDoubt()) {
    status.warnings.emplace_back(
        "the firewall's table is not as it should be and could not be repaired yet; the log says "
        "why");
  }
  if (!unrecorded_.empty()) {
    status.warnings.push_back(absl::StrCat(unrecorded_.size(),
                                           " changes are in force but could not be recorded yet, "
                                           "and no grant is made before they are; "
                                           "make space on the disk of state_dir"));
  }
  if (!sockets_stay_.empty()) status.warnings.push_back(sockets_stay_);
  return status;
}

absl::StatusOr<DeniedAnswer> Gatekeeper::Denied(size_t most) {
  DeniedAnswer answer;
  answer.enforced = options_.gate.enforce;
  POSTERN_ASSIGN_OR_RETURN(std::vector<InstalledElement> denied,
                           with_.firewall.ReadDenied(answer.enforced));
  answer.total = denied.size();
  answer.now = with_.clock.Read().wall;
  KeepLatest(denied, most);
  for (const InstalledElement& element : denied) {
    const absl::Duration ago = std::max(kDeniedFor - element.remaining, absl::ZeroDuration());
    answer.sources.push_back({.source = element.key.source.address,
                              .protocol = element.key.protocol,
                              .port = element.key.port,
                              .last_seen = answer.now - ago,
                              .packets = element.counter});
  }
  return answer;
}

std::vector<InstalledElement> Gatekeeper::DeniedToKeep(const GateOptions& gate) {
  absl::StatusOr<std::vector<InstalledElement>> denied = with_.firewall.ReadDenied(gate.enforce);
  if (!denied.ok()) {
    Report(denied.status(), "reading the refused sources before their table goes");
    return {};
  }
  KeepLatest(*denied, kMostDeniedKept);
  return *std::move(denied);
}

std::optional<absl::Time> Gatekeeper::NextEnd() const {
  const Grant* next = ledger_.EndingFirst();
  if (next == nullptr) return std::nullopt;
  return next->end;
}

}  // namespace postern

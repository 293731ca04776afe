#include "agent/link/plan.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "agent/config/config.h"
#include "common/duration.h"
#include "common/status.h"
#include "common/uuid.h"

namespace postern {
namespace {

constexpr int kMaxGrants = 10'000;
// A controller refuses a report with a longer one.
constexpr size_t kMaxReasonBytes = 4096;
constexpr char kMoveRefused[] = "it was moved to sources that this VM refuses: ";
// Two clocks are never quite the same, and a message takes its time.
constexpr absl::Duration kSameEnd = absl::Seconds(2);

absl::Status Wrong(absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("the controller's wanted state ", message));
}

absl::StatusOr<Port> ReadPort(const v1::Port& port) {
  if (port.number() == 0 || port.number() > 65535) return Wrong("has a port that is none");
  const bool any = port.protocol() == v1::ANY;
  const Port result{.number = static_cast<uint16_t>(port.number()),
                    .tcp = any || port.protocol() == v1::TCP,
                    .udp = any || port.protocol() == v1::UDP};
  if (!result.tcp && !result.udp) return Wrong("has a protocol that is none");
  return result;
}

absl::StatusOr<std::optional<OnExpiry>> ReadOnExpiry(v1::OnExpiry on_expiry) {
  switch (on_expiry) {
    case v1::ON_EXPIRY_UNSPECIFIED:
      return std::nullopt;
    case v1::KEEP:
      return OnExpiry::kKeep;
    case v1::CUT:
      return OnExpiry::kCut;
    case v1::RESET:
      return OnExpiry::kReset;
    default:
      return Wrong("has an on_expiry that is none");
  }
}

absl::Duration DurationOf(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp result;
  const int64_t seconds = absl::ToUnixSeconds(time);
  result.set_seconds(seconds);
  result.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return result;
}

absl::StatusOr<GrantRequest> ReadGrant(const v1::WantedGrant& wanted) {
  GrantRequest request;
  POSTERN_ASSIGN_OR_RETURN(request.id, ParseUuid(wanted.id()));
  for (const std::string& text : wanted.source_prefixes()) {
    POSTERN_ASSIGN_OR_RETURN(const Prefix prefix, Prefix::Parse(text));
    request.sources.push_back(prefix);
  }
  for (const v1::Port& one : wanted.ports()) {
    POSTERN_ASSIGN_OR_RETURN(const Port port, ReadPort(one));
    request.ports.push_back(port);
  }
  if (!wanted.has_remaining() || !wanted.has_not_after())
    return Wrong("has a grant without an end");
  request.duration = DurationOf(wanted.remaining());
  request.not_after = TimeOf(wanted.not_after());
  request.requestor = wanted.requestor();
  request.justification = wanted.justification();
  POSTERN_ASSIGN_OR_RETURN(request.on_expiry, ReadOnExpiry(wanted.on_expiry()));
  return request;
}

bool SameSources(std::vector<Prefix> a, std::vector<Prefix> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

v1::GrantState ToProto(GrantState state) {
  switch (state) {
    case GrantState::kActive:
      return v1::ACTIVE;
    case GrantState::kExpired:
      return v1::EXPIRED;
    case GrantState::kRevoked:
      return v1::REVOKED;
    case GrantState::kSuperseded:
      return v1::SUPERSEDED;
  }
  return v1::GRANT_STATE_UNSPECIFIED;
}

// The earlier of the two ends, as a duration: a grant with an absolute end could
// not be extended later.
GrantRequest WithOneEnd(const GrantRequest& wanted, absl::Time now) {
  GrantRequest request = wanted;
  request.duration = std::min(wanted.duration, *wanted.not_after - now);
  request.not_after.reset();
  return request;
}

// One that is not there.
void AddNew(const GrantRequest& wanted, absl::Time now, Plan& plan) {
  // It ended before this VM could make it.
  if (wanted.duration <= absl::ZeroDuration()) return;
  if (*wanted.not_after > now) {
    plan.steps.emplace_back(CreateGrant{.request = WithOneEnd(wanted, now)});
    return;
  }
  const absl::Duration ahead = now + wanted.duration - *wanted.not_after;
  plan.refused[wanted.id] = absl::StrCat("by this VM's clock the grant is over: the clock is ",
                                         DurationText(absl::Ceil(ahead, absl::Seconds(1))),
                                         " ahead of the controller's; set it right and ask again");
}

// What a live grant lacks of what is wanted of it.
void AddWhatItLacks(const GrantRequest& wanted, const Grant& grant, absl::Time now, Plan& plan) {
  const absl::Time end = std::min(now + wanted.duration, *wanted.not_after);
  const size_t before = plan.steps.size();
  if (!SameSources(wanted.sources, grant.sources)) {
    plan.steps.emplace_back(MoveGrant{.id = grant.id, .sources = wanted.sources});
  }
  if (end > grant.end + kSameEnd) {
    plan.steps.emplace_back(ExtendGrant{.id = grant.id, .by = end - grant.end});
  }
  if (plan.steps.size() == before) plan.settled.push_back(grant);
}

void AddWanted(const GrantRequest& wanted, const HeldGrants& held, absl::Time now, Plan& plan) {
  const auto live = held.live.find(wanted.id);
  const auto other = held.others.find(wanted.id);
  const auto withheld = held.withheld.find(wanted.id);
  if (withheld != held.withheld.end()) {
    plan.waiting[wanted.id] = withheld->second;
  } else if (live != held.live.end()) {
    AddWhatItLacks(wanted, live->second, now, plan);
  } else if (other != held.others.end()) {
    plan.settled.push_back(other->second);
  } else {
    AddNew(wanted, now, plan);
  }
}

// A live one that is not wanted.
void AddEnd(const Grant& grant, const WantedGrants& wanted, bool withheld, absl::Time now,
            Plan& plan) {
  const auto withdrawal = wanted.withdrawn.find(grant.id);
  RevokeGrant revoke{.id = grant.id, .reason = "no longer wanted by the controller"};
  if (withdrawal != wanted.withdrawn.end()) {
    revoke.reason = withdrawal->second.reason;
    revoke.keep_sessions = withdrawal->second.keep_sessions;
    revoke.superseded = withdrawal->second.superseded;
  }
  // One that is about to end does so by itself, as its on_expiry says, except where
  // its sessions are to go with it. Until that is told, the state is not done: the
  // controller would not ask for the end again.
  if (!withheld && revoke.keep_sessions && grant.end <= now + kSameEnd) {
    plan.waiting[grant.id];
    return;
  }
  plan.steps.emplace_back(std::move(revoke));
}

std::string BoundedReason(absl::string_view reason) {
  if (reason.size() <= kMaxReasonBytes) return std::string(reason);
  size_t size = kMaxReasonBytes;
  // Before a character of UTF-8, not within one.
  while (size > 0 && (static_cast<unsigned char>(reason[size]) & 0xC0) == 0x80) --size;
  return std::string(reason.substr(0, size));
}

// The ledger keeps the cause alone: "revoked by ACTOR: REASON", where no controller's
// actor has a blank.
std::optional<std::string> WhyMoveWasRefused(const Grant& grant) {
  absl::string_view cause = grant.end_cause;
  if (grant.state != GrantState::kRevoked ||
      !absl::ConsumePrefix(&cause, absl::StrCat("revoked by ", kControllerActors))) {
    return std::nullopt;
  }
  const size_t actor_end = cause.find(": ");
  if (actor_end == absl::string_view::npos) return std::nullopt;
  cause.remove_prefix(actor_end + 2);
  if (!absl::StartsWith(cause, kMoveRefused)) return std::nullopt;
  return std::string(cause);
}

}  // namespace

absl::StatusOr<WantedGrants> ReadWanted(const v1::WantedState& state) {
  if (state.grants_size() > kMaxGrants || state.withdrawn_size() > kMaxGrants) {
    return Wrong("has too many grants");
  }
  WantedGrants wanted{.revision = state.revision()};
  std::set<std::string> seen;
  for (const v1::WantedGrant& one : state.grants()) {
    POSTERN_ASSIGN_OR_RETURN(GrantRequest request, ReadGrant(one));
    if (!seen.insert(request.id).second) return Wrong("has a grant twice");
    wanted.grants.push_back(std::move(request));
  }
  for (const v1::Withdrawal& one : state.withdrawn()) {
    POSTERN_ASSIGN_OR_RETURN(std::string id, ParseUuid(one.id()));
    wanted.withdrawn[std::move(id)] = {.reason = one.reason(),
                                       .keep_sessions = one.keep_sessions(),
                                       .superseded = one.superseded()};
  }
  return wanted;
}

Plan MakePlan(const WantedGrants& wanted, const HeldGrants& held, absl::Time now) {
  Plan plan;
  std::set<std::string> wanted_ids;
  for (const GrantRequest& request : wanted.grants) {
    wanted_ids.insert(request.id);
    AddWanted(request, held, now, plan);
  }
  for (const auto& [id, grant] : held.live) {
    if (wanted_ids.contains(id)) continue;
    AddEnd(grant, wanted, held.withheld.contains(id), now, plan);
  }
  for (const auto& [id, withdrawal] : wanted.withdrawn) {
    const auto other = held.others.find(id);
    // It ended before it was withdrawn: whoever withdrew it has not heard of that.
    if (other != held.others.end() && other->second.state != GrantState::kActive) {
      plan.settled.push_back(other->second);
    }
  }
  return plan;
}

std::string MoveRefusedReason(absl::string_view why) { return absl::StrCat(kMoveRefused, why); }

v1::GrantReport ReportOf(const Grant& grant) {
  v1::GrantReport report;
  report.set_id(grant.id);
  report.set_state(ToProto(grant.state));
  *report.mutable_start_time() = ToProto(grant.start);
  *report.mutable_end_time() = ToProto(grant.end);
  report.set_reason(BoundedReason(grant.end_cause));
  if (const std::optional<std::string> refused = WhyMoveWasRefused(grant)) {
    report.clear_state();
    report.set_reason(BoundedReason(*refused));
  }
  v1::Usage& usage = *report.mutable_usage();
  usage.set_packets(grant.usage.packets);
  usage.set_bytes(grant.usage.bytes);
  if (grant.usage.first_used) *usage.mutable_first_used() = ToProto(*grant.usage.first_used);
  if (grant.usage.last_used) *usage.mutable_last_used() = ToProto(*grant.usage.last_used);
  return report;
}

v1::GrantReport RefusalOf(const std::string& id, absl::string_view reason) {
  v1::GrantReport report;
  report.set_id(id);
  report.set_reason(BoundedReason(reason));
  return report;
}

}  // namespace postern

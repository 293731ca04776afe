#include "agent/link/applier.h"

#include <algorithm>
#include <optional>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/config/config.h"

namespace postern {
namespace {

// Others have room in the mailbox beside so many.
constexpr size_t kMostAtOnce = 256;

bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status) ||
         absl::IsInternal(status) || absl::IsAborted(status);
}

// The address may be another by now, and several controllers may share what they know.
bool IsOfController(const Grant& grant) {
  return absl::StartsWith(grant.created_by, kControllerActors);
}

const std::string& IdOf(const Step& step) {
  if (const auto* create = std::get_if<CreateGrant>(&step)) return create->request.id;
  if (const auto* extend = std::get_if<ExtendGrant>(&step)) return extend->id;
  if (const auto* move = std::get_if<MoveGrant>(&step)) return move->id;
  return std::get<RevokeGrant>(step).id;
}

// All grants of the controller's that live.
absl::StatusOr<HeldGrants> ReadLive(Gatekeeper& gatekeeper) {
  constexpr size_t kPage = 1000;
  HeldGrants held;
  int64_t after = 0;
  while (true) {
    POSTERN_ASSIGN_OR_RETURN(std::vector<Grant> page, gatekeeper.List(after, kPage, false));
    for (Grant& grant : page) {
      after = grant.sequence;
      if (IsOfController(grant)) held.live.emplace(grant.id, std::move(grant));
    }
    if (page.size() < kPage) break;
  }
  if (gatekeeper.withheld().empty()) return held;
  const std::string why =
      absl::StrCat("it is withheld since the reboot: ", gatekeeper.KnownStatus().withheld_reason);
  for (const Grant& grant : gatekeeper.withheld()) {
    if (held.live.contains(grant.id)) held.withheld[grant.id] = why;
  }
  return held;
}

std::vector<std::string> NamedButNotLive(const WantedGrants& wanted, const HeldGrants& held) {
  std::vector<std::string> ids;
  for (const GrantRequest& request : wanted.grants) {
    if (!held.live.contains(request.id)) ids.push_back(request.id);
  }
  for (const auto& [id, withdrawal] : wanted.withdrawn) {
    if (!held.live.contains(id)) ids.push_back(id);
  }
  return ids;
}

// Of ids [begin, end) those that the ledger knows.
absl::StatusOr<std::vector<Grant>> Find(Gatekeeper& gatekeeper, const std::vector<std::string>& ids,
                                        size_t begin, size_t end) {
  std::vector<Grant> found;
  for (size_t i = begin; i < end; ++i) {
    absl::StatusOr<Grant> grant = gatekeeper.Get(ids[i]);
    if (grant.ok()) {
      found.push_back(*std::move(grant));
    } else if (!absl::IsNotFound(grant.status())) {
      return grant.status();
    }
  }
  return found;
}

}  // namespace

absl::StatusOr<Applied> Applier::Apply(WantedGrants wanted, BootTime came) {
  // What remained when the message came is less by now.
  const absl::Duration since = clock_.Read().boot - came;
  for (GrantRequest& grant : wanted.grants) grant.duration -= since;
  POSTERN_ASSIGN_OR_RETURN(const HeldGrants held, Held(wanted));
  const Plan plan = MakePlan(wanted, held, clock_.Read().wall);
  Applied applied;
  for (const Grant& grant : plan.settled) applied.reports[grant.id] = Told(grant);
  for (const auto& [id, reason] : plan.refused) applied.reports[id] = RefusalOf(id, reason);
  for (const auto& [id, amiss] : plan.waiting) {
    applied.pending.insert(id);
    if (!amiss.empty()) applied.trouble = absl::StrCat("grant ", id, ": ", amiss);
  }
  for (size_t begin = 0; begin < plan.steps.size(); begin += kMostAtOnce) {
    const size_t end = std::min(begin + kMostAtOnce, plan.steps.size());
    POSTERN_RETURN_IF_ERROR(Perform(plan.steps, begin, end, applied));
  }
  AddMappedPorts(wanted.grants, applied);
  return applied;
}

void Applier::AddMappedPorts(const std::vector<GrantRequest>& wanted, Applied& applied) {
  constexpr absl::Duration kGoodFor = absl::Minutes(1);
  std::set<uint16_t> ports;
  for (const GrantRequest& request : wanted) {
    for (const Port& port : request.ports) ports.insert(port.number);
  }
  if (ports.empty()) return;
  const BootTime now = clock_.Read().boot;
  if (ports != mapped_of_ || now - mapped_at_ > kGoodFor) {
    mapped_ = read_mapped_({ports.begin(), ports.end()});
    mapped_of_ = ports;
    mapped_at_ = now;
  }
  for (const GrantRequest& request : wanted) {
    const auto report = applied.reports.find(request.id);
    if (report == applied.reports.end() || report->second.state() != v1::ACTIVE) continue;
    for (const Port& port : request.ports) {
      const auto mapped = mapped_.find(port.number);
      if (mapped == mapped_.end()) continue;
      v1::MappedPort& told = *report->second.add_mapped_ports();
      told.set_number(port.number);
      told.set_mapped(mapped->second);
    }
  }
}

absl::StatusOr<v1::GrantReport> Applier::Report(const std::string& id) {
  POSTERN_ASSIGN_OR_RETURN(const Answer grant, Get(id));
  if (!grant.ok()) return grant.status();
  if (!IsOfController(*grant)) return absl::NotFoundError("another's grant");
  return ReportOf(*grant);
}

absl::StatusOr<std::vector<v1::GrantReport>> Applier::Usage(const WantedGrants& wanted) {
  using Live = absl::StatusOr<HeldGrants>;
  POSTERN_ASSIGN_OR_RETURN(const Live held, Asked<Live>(mailbox_, ReadLive));
  POSTERN_RETURN_IF_ERROR(held.status());
  std::vector<v1::GrantReport> reports;
  for (const GrantRequest& request : wanted.grants) {
    const auto live = held->live.find(request.id);
    if (live == held->live.end() || held->withheld.contains(request.id)) continue;
    reports.push_back(ReportOf(live->second));
    // A change of it may be on its way.
    reports.back().clear_end_time();
  }
  return reports;
}

absl::StatusOr<HeldGrants> Applier::Held(const WantedGrants& wanted) {
  using Live = absl::StatusOr<HeldGrants>;
  POSTERN_ASSIGN_OR_RETURN(Live held, Asked<Live>(mailbox_, ReadLive));
  POSTERN_RETURN_IF_ERROR(held.status());
  const std::vector<std::string> ids = NamedButNotLive(wanted, *held);
  for (size_t begin = 0; begin < ids.size(); begin += kMostAtOnce) {
    const size_t end = std::min(begin + kMostAtOnce, ids.size());
    using Found = absl::StatusOr<std::vector<Grant>>;
    POSTERN_ASSIGN_OR_RETURN(Found found, Asked<Found>(mailbox_, [&](Gatekeeper& gatekeeper) {
                               return Find(gatekeeper, ids, begin, end);
                             }));
    POSTERN_RETURN_IF_ERROR(found.status());
    for (Grant& grant : *found) held->others.emplace(grant.id, std::move(grant));
  }
  return held;
}

absl::Status Applier::Perform(const std::vector<Step>& steps, size_t begin, size_t end,
                              Applied& applied) {
  std::vector<std::future<Answer>> answers;
  absl::Status submitted;
  for (size_t i = begin; i < end && submitted.ok(); ++i) {
    absl::StatusOr<std::future<Answer>> answer = Submit(steps[i]);
    submitted = answer.status();
    if (answer.ok()) answers.push_back(*std::move(answer));
  }
  for (size_t i = 0; i < answers.size(); ++i) {
    POSTERN_RETURN_IF_ERROR(Settle(steps[begin + i], answers[i].get(), applied));
  }
  return submitted;
}

absl::Status Applier::Settle(const Step& step, const Answer& answer, Applied& applied) {
  const std::string& id = IdOf(step);
  const auto told = applied.reports.find(id);
  // A step before this one has ended it since.
  if (told != applied.reports.end() && told->second.state() != v1::ACTIVE) return absl::OkStatus();
  if (answer.ok()) {
    applied.reports[id] = Told(*answer);
  } else if (MayPass(answer.status())) {
    applied.pending.insert(id);
    applied.trouble = absl::StrCat("grant ", id, ": ", answer.status().message());
  } else if (std::holds_alternative<CreateGrant>(step)) {
    applied.reports[id] = RefusalOf(id, answer.status().message());
  } else {
    return SettleRefused(step, answer.status(), applied);
  }
  return absl::OkStatus();
}

absl::Status Applier::SettleRefused(const Step& step, const absl::Status& why, Applied& applied) {
  const std::string& id = IdOf(step);
  POSTERN_ASSIGN_OR_RETURN(const Answer grant, Get(id));
  if (!grant.ok()) return grant.status();
  v1::GrantReport& report = applied.reports[id];
  report = Told(*grant);
  // It ended meanwhile.
  if (grant->state != GrantState::kActive) return absl::OkStatus();
  applied.trouble = absl::StrCat("grant ", id, ": ", why.message());
  report.set_reason(std::string(why.message()));
  if (!std::holds_alternative<MoveGrant>(step)) return absl::OkStatus();
  // Nobody wants the sources that it admits any more.
  POSTERN_ASSIGN_OR_RETURN(
      std::future<Answer> revoked,
      Submit(RevokeGrant{.id = id, .reason = MoveRefusedReason(why.message())}));
  return Settle(RevokeGrant{.id = id}, revoked.get(), applied);
}

absl::StatusOr<std::future<Applier::Answer>> Applier::Submit(Step step) {
  auto promise = std::make_shared<std::promise<Answer>>();
  std::future<Answer> future = promise->get_future();
  POSTERN_RETURN_IF_ERROR(mailbox_.Submit(
      {.request = std::move(step), .actor = actor_, .done = [promise](Answer grant) {
         promise->set_value(std::move(grant));
       }}));
  return future;
}

absl::StatusOr<Applier::Answer> Applier::Get(const std::string& id) {
  return Asked<Answer>(mailbox_, [&id](Gatekeeper& gatekeeper) { return gatekeeper.Get(id); });
}

v1::GrantReport Applier::Told(const Grant& grant) {
  if (IsOfController(grant)) return ReportOf(grant);
  return RefusalOf(grant.id, "another's grant has this id");
}

}  // namespace postern

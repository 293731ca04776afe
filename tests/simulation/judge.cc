#include "tests/simulation/judge.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace postern::simulation {
namespace {

std::string Text(BootTime time) { return absl::FormatDuration(time.since_boot()); }

std::string Text(const SimulatedKernel::Element& element) {
  return absl::StrCat(element.key.ToString(), " in ", element.set.Name());
}

std::string Text(const Version& version) {
  if (!version) return "no such grant";
  static constexpr const char* kStates[] = {"active", "expired", "revoked", "superseded"};
  return absl::StrCat(kStates[static_cast<int>(version->state)], " until ",
                      absl::FormatTime(version->end, absl::UTCTimeZone()));
}

std::string Text(const Grant* grant) {
  if (grant == nullptr) return "no such grant";
  static constexpr const char* kStates[] = {"active", "expired", "revoked", "superseded"};
  return absl::StrCat(kStates[static_cast<int>(grant->state)], " until ",
                      absl::FormatTime(grant->end, absl::UTCTimeZone()), " (", grant->end_cause,
                      ")");
}

bool Names(const Grant& grant, const AccessKey& key) {
  const std::vector<AccessKey> keys = KeysOf(grant);
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

}  // namespace

std::optional<BootTime> Judge::LatestEnd(const Element& element) const {
  const bool cut = element.set.admission == Admission::kCut;
  std::optional<BootTime> latest;
  const auto count = [&](BootTime end) {
    if (!latest || *latest < end) latest = end;
  };
  const auto consider = [&](const Version& version) {
    if (!version || version->state == GrantState::kRevoked || version->withheld) return;
    if (version->cut() != cut) return;
    if (version->Names(element.key)) count(version->deadline);
  };
  for (const Entry& entry : entries_) {
    consider(entry.now);
    for (const Version& version : entry.kernel) consider(version);
    if (entry.open.empty() && !entry.renewed) continue;
    if (host_.kernel.last_fault() >= step_.boot || host_.kernel.uncertain()) {
      consider(entry.renewed);
      // After a refusal each change is tried alone, so that the kernel may hold
      // what is between two of them; it may hold anything while it is not known.
      const std::vector<Request> open =
          host_.kernel.uncertain() ? entry.Open() : entry.Unanswered();
      for (const Version& version : Outcomes(entry.now, open, step_)) consider(version);
    }
    if (const Grant* durable = host_.disk.Find(entry.id)) {
      const bool live =
          durable->state == GrantState::kActive && durable->boot_id == host_.clock.BootId();
      const bool is_cut = durable->on_expiry != OnExpiry::kKeep;
      if (live && is_cut == cut && Names(*durable, element.key)) count(durable->deadline);
    }
  }
  return latest;
}

void Judge::NothingMore() const {
  for (const Element& element : host_.kernel.Elements()) {
    const std::optional<BootTime> latest = LatestEnd(element);
    if (!latest) {
      throw Violation{absl::StrCat("I1/I4: the kernel admits ", Text(element),
                                   ", which no durable grant gives")};
    }
    if (*latest + kMostLate + host_.kernel.overslept() < element.end) {
      throw Violation{absl::StrCat("I2: the kernel admits ", Text(element), " until ",
                                   Text(element.end), "; granted until ", Text(*latest))};
    }
  }
}

void Judge::NothingLess(const Entry& entry) const {
  const BootTime now = host_.clock.Read().boot;
  std::vector<const ModelGrant*> versions;
  if (!entry.now) return;
  versions.push_back(&*entry.now);
  for (const Version& version : entry.kernel) {
    if (!version) return;
    versions.push_back(&*version);
  }
  BootTime until = entry.now->deadline;
  for (const ModelGrant* version : versions) {
    if (!version->LiveAt(now) || version->cut() != entry.now->cut()) return;
    until = std::min(until, version->deadline);
  }
  const std::vector<Element> elements = host_.kernel.Elements();
  const Admission admission = entry.now->cut() ? Admission::kCut : Admission::kKeep;
  for (const AccessKey& key : entry.now->Keys()) {
    const bool in_all = std::all_of(versions.begin(), versions.end(),
                                    [&](const ModelGrant* v) { return v->Names(key); });
    if (!in_all) continue;
    const SetId set = SetOf(key, admission);
    const auto element = std::find_if(elements.begin(), elements.end(), [&](const Element& e) {
      return e.set == set && e.key == key;
    });
    if (element == elements.end()) {
      throw Violation{absl::StrCat("I3: the kernel does not admit ", key.ToString(), " of grant ",
                                   entry.id, ", granted until ", Text(until), "; it is ",
                                   Text(now))};
    }
    if (element->end < until) {
      throw Violation{absl::StrCat("I3: the kernel admits ", Text(*element), " until ",
                                   Text(element->end), " only; grant ", entry.id, " lasts until ",
                                   Text(until))};
    }
  }
}

void Judge::NothingLess() const {
  for (const Entry& entry : entries_) NothingLess(entry);
}

void Judge::Punctual() const {
  const BootTime now = host_.clock.Read().boot;
  for (const Element& element : host_.kernel.Elements()) {
    const std::optional<BootTime> latest = LatestEnd(element);
    if (latest && *latest + kMostLate < now) {
      throw Violation{absl::StrCat("I2: the kernel still admits ", Text(element),
                                   ", granted until ", Text(*latest), "; it is ", Text(now))};
    }
  }
}

void Judge::Disk(const Entry& entry) const {
  const Grant* durable = host_.disk.Find(entry.id);
  const auto is_durable = [&](const Version& version) {
    return Matches(durable, version, host_.clock.Read(), host_.clock.BootId());
  };
  if (!is_durable(entry.now)) {
    if (std::any_of(entry.behind.begin(), entry.behind.end(), is_durable)) return;
    throw Violation{absl::StrCat("I4: grant ", entry.id, " is durable as ", Text(durable),
                                 ", and was acknowledged as ", Text(entry.now))};
  }
  if (durable == nullptr) return;
  const std::optional<AuditKind> last = host_.disk.LastKind(entry.id);
  const std::optional<AuditKind> end = host_.disk.LastEnd(entry.id);
  const bool told = durable->state == GrantState::kActive ? last && (entry.untold || !IsEnd(*last))
                    : durable->state == GrantState::kExpired ? end == AuditKind::kGrantExpired
                                                             : end == AuditKind::kGrantRevoked;
  if (!told) {
    throw Violation{absl::StrCat("I4: the audit does not tell how grant ", entry.id, " came to be ",
                                 Text(durable))};
  }
}

void Judge::Disk() const {
  size_t present = 0;
  for (const Entry& entry : entries_) {
    Disk(entry);
    if (host_.disk.Find(entry.id) != nullptr) ++present;
  }
  if (present != host_.disk.size()) {
    throw Violation{absl::StrCat("I4: ", host_.disk.size(), " grants are durable, of which ",
                                 present, " were asked for")};
  }
}

void Judge::EndsRecorded() const {
  const BootTime now = host_.clock.Read().boot;
  for (const Entry& entry : entries_) {
    const Grant* durable = host_.disk.Find(entry.id);
    if (!Matches(durable, entry.now, host_.clock.Read(), host_.clock.BootId())) {
      throw Violation{absl::StrCat("I4: what became of grant ", entry.id, " (", Text(entry.now),
                                   ") is not recorded: ", Text(durable))};
    }
    if (!entry.now || entry.now->withheld || entry.now->LiveAt(now)) continue;
    if (durable != nullptr && durable->state == GrantState::kActive) {
      throw Violation{absl::StrCat("I4: the end of grant ", entry.id, " came at ",
                                   Text(entry.now->deadline), " and is not recorded at ",
                                   Text(now))};
    }
  }
}

void Judge::Answers(const Address& source, Protocol protocol, uint16_t port) const {
  const BootTime now = host_.clock.Read().boot;
  const bool granted = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.now && entry.now->LiveAt(now) && entry.now->Covers(source, protocol, port);
  });
  if (host_.gatekeeper().Check(source, protocol, port).allowed != granted) {
    throw Violation{absl::StrCat("I5: asked about ", source.ToString(), " to ", port,
                                 ", the daemon says ", granted ? "denied" : "allowed")};
  }
}

void Judge::Empty() const {
  if (!host_.kernel.table()) throw Violation{"I1: there is no table"};
  if (!host_.kernel.table()->sets.empty()) {
    throw Violation{absl::StrCat("I5: ", host_.kernel.table()->sets.size(),
                                 " sets are left when all grants have ended")};
  }
  if (host_.gatekeeper().live_grants() != 0) {
    throw Violation{absl::StrCat("I5: the daemon counts ", host_.gatekeeper().live_grants(),
                                 " live grants when all have ended")};
  }
}

}  // namespace postern::simulation

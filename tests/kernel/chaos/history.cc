#include "tests/kernel/chaos/history.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace postern::chaos {
namespace {

// Access ends at its end, or up to two kernel ticks (10 ms at the most) later.
constexpr absl::Duration kTicks = absl::Milliseconds(21);

constexpr BootTime kNeverEnds(absl::InfiniteDuration());

std::string At(BootTime time, BootTime from) {
  return absl::StrCat(absl::FormatDuration(time - from));
}

std::string Describe(const Probe& probe, const std::vector<const Story*>& stories) {
  std::string text = absl::StrCat(
      "  a packet ", probe.slot ? absl::StrCat("of slot ", *probe.slot) : "that nothing may admit",
      probe.passed ? " passed" : " was dropped", " within ", At(probe.judged, probe.sent), "\n");
  for (const Story* story : stories) {
    if (story->may.to + absl::Seconds(1) < probe.sent || story->may.from > probe.judged) continue;
    absl::StrAppend(&text, "    grant ", story->id, " may admit from ",
                    At(story->may.from, probe.sent), " to ", At(story->may.to, probe.sent));
    for (const Span& span : story->must) {
      absl::StrAppend(&text, ", must from ", At(span.from, probe.sent), " to ",
                      At(span.to, probe.sent));
    }
    absl::StrAppend(&text, story->revoked ? ", revoked\n" : "\n");
  }
  return text;
}

}  // namespace

Story* History::Begin(std::string id, size_t slot, BootTime sent) {
  const std::lock_guard lock(mutex_);
  Story& story = stories_.emplace_back();
  story.id = std::move(id);
  story.slot = slot;
  story.pending = Pending::kCreate;
  story.may = {.from = sent, .to = kNeverEnds};
  return &story;
}

BootTime History::ToBootTime(absl::Time time) const {
  const Now now = clock_.Read();
  return now.boot + (time - now.wall);
}

void History::Live(Story& story, absl::Time end) {
  const BootTime until = ToBootTime(end);
  const std::lock_guard lock(mutex_);
  // What was being revoked need not have been open in between, nor what ran out
  // before its extension was acknowledged.
  const BootTime now = clock_.Read().boot;
  if (story.must.empty() || story.pending == Pending::kRevoke || story.must.back().to < now) {
    story.must.push_back({.from = now, .to = until});
  } else {
    story.must.back().to = until;
  }
  story.may.to = until;
  story.end = end;
  story.may_be_later = absl::ZeroDuration();
  story.acknowledged = true;
  story.pending = Pending::kNone;
}

void History::ExtendSent(Story& story, absl::Duration by) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kExtend;
  story.may_be_later = by;
  story.may.to = story.may.to + by;
}

void History::RevokeSent(Story& story) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kRevoke;
  story.must.back().to = std::min(story.must.back().to, clock_.Read().boot);
}

void History::Revoked(Story& story) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kNone;
  story.revoked = true;
  story.may.to = std::min(story.may.to, clock_.Read().boot);
}

void History::Ended(Story& story, absl::Time end) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kNone;
  story.acknowledged = true;
  story.ended = true;
  story.end = end;
  story.may_be_later = absl::ZeroDuration();
  story.may.to = ToBootTime(end);
}

void History::Never(Story& story) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kNone;
  story.never = true;
  // Before all else.
  story.may = {};
}

Verdict History::Judge(const std::vector<Probe>& probes) {
  const std::lock_guard lock(mutex_);
  std::vector<std::vector<const Story*>> by_slot(slots_);
  for (const Story& story : stories_) by_slot[story.slot].push_back(&story);

  Verdict verdict;
  for (const Probe& probe : probes) {
    static const std::vector<const Story*> kNobody;
    const std::vector<const Story*>& stories = probe.slot ? by_slot[*probe.slot] : kNobody;
    const auto may = [&probe](const Story* story) {
      return !story->never && story->may.from <= probe.judged &&
             story->may.to + kTicks >= probe.sent;
    };
    const auto must = [&probe](const Story* story) {
      return std::any_of(story->must.begin(), story->must.end(), [&probe](const Span& span) {
        return span.from <= probe.sent && span.to >= probe.judged;
      });
    };
    ++verdict.probes;
    if (probe.passed) ++verdict.passed;
    const bool wrong = probe.passed ? std::none_of(stories.begin(), stories.end(), may)
                                    : std::any_of(stories.begin(), stories.end(), must);
    if (!wrong) continue;
    size_t& count = probe.passed ? verdict.admitted_wrongly : verdict.refused_wrongly;
    if (++count <= 3) absl::StrAppend(&verdict.example, Describe(probe, stories));
  }
  return verdict;
}

}  // namespace postern::chaos

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

// A grant where it was for a while.
struct Stay {
  const Story* story;
  const Place* place;
};

std::string Describe(const Probe& probe, const std::vector<Stay>& stays) {
  std::string text = absl::StrCat(
      "  a packet ", probe.slot ? absl::StrCat("of slot ", *probe.slot) : "that nothing may admit",
      probe.passed ? " passed" : " was dropped", " within ", At(probe.judged, probe.sent), "\n");
  for (const auto& [story, place] : stays) {
    const Span& may = place->may;
    if (may.to + absl::Seconds(1) < probe.sent || may.from > probe.judged) continue;
    absl::StrAppend(&text, "    grant ", story->id, " may admit from ", At(may.from, probe.sent),
                    " to ", At(may.to, probe.sent));
    for (const Span& span : place->must) {
      absl::StrAppend(&text, ", must from ", At(span.from, probe.sent), " to ",
                      At(span.to, probe.sent));
    }
    absl::StrAppend(&text, story->revoked ? ", revoked\n" : "\n");
  }
  return text;
}

// It admits nothing after `time`, wherever it was.
void Close(Story& story, BootTime time) {
  for (Place& place : story.places) place.may.to = std::min(place.may.to, time);
}

}  // namespace

Story* History::Begin(std::string id, size_t slot, BootTime sent) {
  const std::lock_guard lock(mutex_);
  Story& story = stories_.emplace_back();
  story.id = std::move(id);
  story.places = {{.slot = slot, .may = {.from = sent, .to = kNeverEnds}, .must = {}}};
  story.pending = Pending::kCreate;
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
  Place& place = story.places.back();
  if (place.must.empty() || story.pending == Pending::kRevoke || place.must.back().to < now) {
    place.must.push_back({.from = now, .to = until});
  } else {
    place.must.back().to = until;
  }
  place.may.to = until;
  story.end = end;
  story.may_be_later = absl::ZeroDuration();
  story.acknowledged = true;
  story.pending = Pending::kNone;
}

void History::ExtendSent(Story& story, absl::Duration by) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kExtend;
  story.may_be_later = by;
  story.places.back().may.to = story.places.back().may.to + by;
}

void History::MoveSent(Story& story, size_t slot) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kMove;
  const BootTime now = clock_.Read().boot;
  Place& from = story.places.back();
  from.must.back().to = std::min(from.must.back().to, now);
  story.places.push_back({.slot = slot, .may = {.from = now, .to = from.may.to}, .must = {}});
}

void History::Moved(Story& story, bool was_moved) {
  const std::lock_guard lock(mutex_);
  Place& from = story.places[story.places.size() - 2];
  if (!was_moved) std::swap(from, story.places.back());
  from.may.to = std::min(from.may.to, clock_.Read().boot);
}

void History::RevokeSent(Story& story) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kRevoke;
  Span& must = story.places.back().must.back();
  must.to = std::min(must.to, clock_.Read().boot);
}

void History::Revoked(Story& story) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kNone;
  story.revoked = true;
  Close(story, clock_.Read().boot);
}

void History::Ended(Story& story, absl::Time end) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kNone;
  story.acknowledged = true;
  story.ended = true;
  story.end = end;
  story.may_be_later = absl::ZeroDuration();
  Close(story, ToBootTime(end));
}

void History::Never(Story& story) {
  const std::lock_guard lock(mutex_);
  story.pending = Pending::kNone;
  story.never = true;
  // Before all else.
  for (Place& place : story.places) place.may = {};
}

Verdict History::Judge(const std::vector<Probe>& probes) {
  const std::lock_guard lock(mutex_);
  std::vector<std::vector<Stay>> by_slot(slots_);
  for (const Story& story : stories_) {
    for (const Place& place : story.places) by_slot[place.slot].push_back({&story, &place});
  }

  Verdict verdict;
  for (const Probe& probe : probes) {
    static const std::vector<Stay> kNobody;
    const std::vector<Stay>& stays = probe.slot ? by_slot[*probe.slot] : kNobody;
    const auto may = [&probe](const Stay& stay) {
      const Span& span = stay.place->may;
      return !stay.story->never && span.from <= probe.judged && span.to + kTicks >= probe.sent;
    };
    const auto must = [&probe](const Stay& stay) {
      const std::vector<Span>& spans = stay.place->must;
      return std::any_of(spans.begin(), spans.end(), [&probe](const Span& span) {
        return span.from <= probe.sent && span.to >= probe.judged;
      });
    };
    ++verdict.probes;
    if (probe.passed) ++verdict.passed;
    const bool wrong = probe.passed ? std::none_of(stays.begin(), stays.end(), may)
                                    : std::any_of(stays.begin(), stays.end(), must);
    if (!wrong) continue;
    size_t& count = probe.passed ? verdict.admitted_wrongly : verdict.refused_wrongly;
    if (++count <= 3) absl::StrAppend(&verdict.example, Describe(probe, stays));
  }
  return verdict;
}

}  // namespace postern::chaos

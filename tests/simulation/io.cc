#include "tests/simulation/io.h"

#include "absl/strings/str_cat.h"

namespace postern::simulation {

void Io::Tell(absl::string_view text) {
  if (story_ != nullptr) {
    absl::StrAppend(story_, story_->ends_with(':') ? " " : "; ", text);
  }
}

Fate Io::Begin(absl::string_view what) {
  // Most are done in no time, a few take some.
  if (random_.Chance(10)) clock_.Advance(random_.UpTo(absl::Milliseconds(10)));
  Fate fate;
  for (const PlannedFault& planned : faults_) {
    if (planned.at != count_) continue;
    switch (planned.fault) {
      case Fault::kCrashBefore:
        if (story_ != nullptr) Tell(absl::StrCat("CRASH before ", what));
        throw Crash{};
      case Fault::kCrashAfter:
        fate.crash_after = true;
        break;
      case Fault::kAnswerLost:
        fate.answer_lost = true;
        break;
      case Fault::kRefused:
        fate.refused = true;
        break;
    }
  }
  ++count_;
  if (story_ != nullptr) Tell(what);
  return fate;
}

void Io::End(const Fate& fate, absl::string_view outcome) {
  if (story_ != nullptr && !outcome.empty()) absl::StrAppend(story_, " ", outcome);
  if (observer_) observer_();
  if (!fate.crash_after) return;
  Tell("CRASH");
  throw Crash{};
}

}  // namespace postern::simulation

#include "tests/simulation/kernel.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern::simulation {
namespace {

bool ReplacesTable(const Transaction& transaction) {
  return !transaction.empty() && std::holds_alternative<ReplaceTable>(transaction.front());
}

BootTime NextTick(BootTime time) { return BootTime(absl::Ceil(time.since_boot(), kTick)); }

}  // namespace

// As it goes to the kernel: ends on its clock, rounded up to a tick, or one more
// where the batch arrives in the next one; elements whose end has passed are
// taken away.
Transaction SimulatedKernel::Timed(const Transaction& transaction) {
  Transaction timed = transaction;
  const absl::Duration late = random_.Chance(20) ? kTick : absl::ZeroDuration();
  for (Operation& operation : timed) {
    auto* put = std::get_if<PutElement>(&operation);
    if (put == nullptr) continue;
    if (put->end <= clock_.Read().boot) {
      operation = RemoveElement{put->set, put->key};
    } else {
      put->end = NextTick(put->end - clock_.suspended()) + late;
    }
  }
  return timed;
}

absl::Status SimulatedKernel::Commit(const Transaction& transaction) {
  const bool replaces = ReplacesTable(transaction);
  const Fate fate = io_.Begin(replaces ? "kernel: table" : "kernel");
  absl::Status status;
  if (refuses_ || fate.refused) {
    status = absl::UnavailableError("the simulated kernel refuses");
  } else {
    status = table_.Commit(Timed(transaction));
    if (status.ok() && replaces) ForgetOverslept();
    if (status.ok() && fate.answer_lost) {
      status = absl::UnavailableError("the simulated kernel's answer was lost");
    }
  }
  if (!status.ok()) {
    uncertain_ = true;
    last_fault_ = clock_.Read().boot;
  } else if (replaces) {
    uncertain_ = false;
    tampered_ = false;
  }
  io_.End(fate, status.ok() ? "" : fate.answer_lost ? "ANSWER LOST" : "REFUSED");
  return status;
}

absl::Status SimulatedKernel::CheckReading() const {
  if (fails_readings_) return absl::UnavailableError("the simulated kernel has no buffers");
  return absl::OkStatus();
}

absl::StatusOr<bool> SimulatedKernel::HasTable() {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return table_.HasTable();
}

absl::StatusOr<std::vector<SetId>> SimulatedKernel::ReadSets() {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return table_.ReadSets();
}

absl::StatusOr<std::vector<InstalledElement>> SimulatedKernel::ReadElements(const SetId& set) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return table_.ReadElements(set);
}

absl::StatusOr<std::optional<InstalledElement>> SimulatedKernel::ReadElement(const SetId& set,
                                                                             const AccessKey& key) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return table_.ReadElement(set, key);
}

absl::StatusOr<std::vector<Flow>> SimulatedKernel::ReadOlderFlows() {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return table_.ReadOlderFlows();
}

absl::StatusOr<std::vector<InstalledElement>> SimulatedKernel::ReadDenied(bool enforce) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return table_.ReadDenied(enforce);
}

absl::StatusOr<Counter> SimulatedKernel::ReadCounter(absl::string_view name) {
  POSTERN_RETURN_IF_ERROR(CheckReading());
  return table_.ReadCounter(name);
}

bool SimulatedKernel::RemoveSomeElement() {
  const std::vector<Element> elements = Elements();
  if (elements.empty()) return false;
  const Element& element = random_.Pick(elements);
  tampered_ = true;
  return table_.Commit({RemoveElement{element.set, element.key}}).ok();
}

void SimulatedKernel::Reboot() {
  table_.DeleteTable();
  uncertain_ = false;
  tampered_ = false;
  suspended_before_ = absl::ZeroDuration();
}

std::vector<SimulatedKernel::Element> SimulatedKernel::Elements() const {
  std::vector<Element> live;
  if (!table()) return live;
  const BootTime now = ticks_.Read().boot;
  for (const auto& [set, elements] : table()->sets) {
    for (const auto& [key, element] : elements) {
      if (element.end <= now) continue;
      live.push_back({.set = set, .key = key, .end = element.end + clock_.suspended()});
    }
  }
  return live;
}

}  // namespace postern::simulation

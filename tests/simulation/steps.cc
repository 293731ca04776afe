// The steps of a run.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/simulation/world.h"
#include "tests/support/grants.h"

namespace postern::simulation {
namespace {

const std::vector<Address>& Addresses() {
  static const std::vector<Address> addresses = {
      A("203.0.113.7"),  A("203.0.113.9"), A("203.0.113.99"), A("203.0.1.1"),
      A("198.51.100.1"), A("2001:db8::1"), A("2001:db8::2"),  A("2001:db8:1::1")};
  return addresses;
}

const std::vector<uint16_t>& Ports() {
  static const std::vector<uint16_t> ports = {22, 3389};
  return ports;
}

absl::Duration SomeTime(Random& random) {
  switch (random.Below(10)) {
    case 0:
    case 1:
    case 2:
      return random.UpTo(absl::Milliseconds(50));
    case 3:
    case 4:
    case 5:
      return random.UpTo(absl::Seconds(3));
    case 6:
    case 7:
      return random.UpTo(absl::Minutes(2));
    case 8:
      return random.UpTo(absl::Minutes(20));
    default:
      return random.UpTo(absl::Hours(2));
  }
}

}  // namespace

void World::PlanFaults() {
  static const std::vector<Fault> kinds = {Fault::kCrashBefore, Fault::kCrashAfter,
                                           Fault::kAnswerLost, Fault::kRefused};
  std::vector<PlannedFault> faults;
  for (size_t chance = 30; random_.Chance(chance);) {
    faults.push_back({random_.Pick(kinds), static_cast<int>(random_.Below(7))});
  }
  faults_planned_ = !faults.empty();
  host_.io.Plan(std::move(faults));
}

void World::Step() {
  if (!story_.empty()) trace_.push_back(std::exchange(story_, {}));
  if (with_trace_) {
    story_ = absl::StrCat("at ", absl::FormatDuration(host_.clock.Read().boot.since_boot()),
                          host_.alive() ? ":" : " (down):");
  }
  PlanFaults();
  step_ = host_.clock.Read();
  judge_.Begin(step_);
  const size_t draw = random_.Below(100);
  if (draw < 4) {
    Trouble();
  } else if (draw < 6) {
    Reboot();
  } else if (draw < 8) {
    Suspend();
  } else if (draw < 10) {
    SetClock();
  } else if (draw < 30) {
    PassSome();
  } else if (draw < 33) {
    Tamper();
  } else if (!host_.alive()) {
    StartAgain();
  } else if (draw < 36) {
    BeKilled();
  } else if (draw < 39) {
    Restart();
  } else if (draw < 46) {
    Connect();
  } else if (draw < 49) {
    Send();
  } else if (random_.Chance(locked_ ? 30 : 2)) {
    GiveOrder();
  } else {
    SubmitSome();
  }
  faults_planned_ = false;
  host_.io.Plan({});
  RingAlarms(absl::ZeroDuration());
  CheckSessions();
  if (host_.alive() && Well()) {
    judge_.Answers(random_.Pick(Addresses()), Protocol::kTcp, random_.Pick(Ports()));
    judge_.Answers(random_.Pick(Addresses()), Protocol::kUdp, random_.Pick(Ports()));
  }
}

void World::SubmitSome() {
  std::vector<Request> requests = {RandomRequest()};
  if (random_.Chance(25)) {
    do requests.push_back(RandomRequest());
    while (random_.Chance(50));
  }
  Submit(requests);
}

void World::PassSome() {
  absl::Duration by = SomeTime(random_);
  // What fails is tried again every second.
  if (!host_.disk.well() || !host_.kernel.well()) by = std::min(by, absl::Seconds(10));
  const absl::Duration late =
      random_.Chance(30) ? random_.UpTo(absl::Milliseconds(500)) : absl::ZeroDuration();
  if (with_trace_) {
    Tell(absl::StrCat("pass ", absl::FormatDuration(by), ", alarms late by ",
                      absl::FormatDuration(late)));
  }
  Pass(by, late);
}

void World::BeKilled() {
  Tell("SIGKILL");
  host_.Kill();
  Resolve();
}

void World::Restart() {
  Tell("restart");
  const bool stopped = host_.Stop();
  Resolve();
  if (stopped) StartAgain();
}

void World::StartAgain() {
  Tell("start");
  seen_before_start_ = host_.disk.last_seen();
  Renew(/*starting=*/true);
  const bool tampered = host_.kernel.tampered();
  host_.Start();
  if (!host_.alive() && !faults_planned_ && host_.kernel.well() && host_.disk.readable()) {
    throw Violation{"the daemon does not start where a full disk is all that fails"};
  }
  if (!host_.alive() && tampered && !host_.kernel.tampered()) {
    // The table that is made where there was none is closed for all.
    for (Entry& entry : entries_) entry.kernel.push_back(std::nullopt);
  }
  Resolve();
  CheckOwed();
}

void World::Reboot() {
  // By the wall clock: a battery that is empty, or somebody who set it.
  absl::Duration down = absl::Seconds(10) + random_.UpTo(absl::Minutes(1));
  if (random_.Chance(30)) down -= random_.UpTo(absl::Hours(2));
  if (random_.Chance(10)) down += random_.UpTo(absl::Hours(1));
  const bool synchronised = random_.Chance(50);
  if (with_trace_) {
    Tell(absl::StrCat("reboot, off for ", absl::FormatDuration(down),
                      synchronised ? "" : ", not synchronised"));
  }
  host_.Kill(Death::kPowerCut);
  Resolve();
  const std::string boot_id = host_.clock.BootId();
  host_.clock.Synchronise(synchronised);
  host_.Reboot(down);
  // The gate at boot is closed and knows no grants.
  trouble_ = BootTime();
  for (Entry& entry : entries_) {
    entry.kernel.clear();
    if (!entry.now || entry.now->state != GrantState::kActive || entry.now->withheld) continue;
    entry.now->withheld = true;
    if (const auto clock = host_.disk.clock(); clock && clock->boot_id == boot_id) {
      entry.now->end_by_boot = clock->began + entry.now->deadline.since_boot();
    }
  }
  PlanFaults();
  StartAgain();
}

void World::TellClockChanged() {
  if (!host_.alive()) return;
  Renew();
  host_.ClockChanged();
  Resolve();
  if (host_.alive() && !host_.kernel.uncertain()) host_.kernel.ForgetOverslept();
  RingAlarms(absl::ZeroDuration());
}

void World::Suspend() {
  const absl::Duration asleep = absl::Seconds(1) + SomeTime(random_);
  if (with_trace_) Tell(absl::StrCat("suspend for ", absl::FormatDuration(asleep)));
  host_.clock.Suspend(asleep);
  if (random_.Chance(50)) RingAlarms(absl::ZeroDuration());
  TellClockChanged();
}

void World::SetClock() {
  // What a step shortens is kept in memory alone where the disk fails, and the
  // next start reads the clocks anew: nothing that could be told from outside.
  if (!host_.disk.well()) return;
  faults_planned_ = false;
  host_.io.Plan({});
  if (random_.Chance(30)) {
    const bool synchronised = random_.Chance(70);
    Tell(synchronised ? "the clock is synchronised" : "the clock is not synchronised");
    host_.clock.Synchronise(synchronised);
    return;
  }
  static const std::vector<absl::Duration> steps = {absl::Seconds(2), absl::Minutes(5),
                                                    absl::Hours(1)};
  const absl::Duration step = random_.Pick(steps) * (random_.Chance(50) ? 1 : -1);
  if (with_trace_) Tell(absl::StrCat("the wall clock is set by ", absl::FormatDuration(step)));
  host_.clock.StepWall(step);
  TellClockChanged();
}

void World::Trouble() {
  if (random_.Chance(50)) {
    Tell("all well");
    host_.disk.Fill(false);
    host_.disk.Break(false);
    host_.kernel.RefuseAll(false);
    host_.kernel.FailReadings(false);
    return;
  }
  switch (random_.Below(4)) {
    case 0:
      Tell("disk full");
      host_.disk.Fill(true);
      break;
    case 1:
      Tell("disk broken");
      host_.disk.Break(true);
      break;
    case 2:
      Tell("kernel refuses");
      host_.kernel.RefuseAll(true);
      break;
    default:
      Tell("kernel's readings fail");
      host_.kernel.FailReadings(true);
      break;
  }
}

void World::Tamper() {
  if (random_.Chance(50)) {
    Tell("outside flush");
    host_.kernel.DeleteTable();
  } else {
    Tell("outside removal of an element");
    if (!host_.kernel.RemoveSomeElement()) return;
  }
  TellTableChanged();
}

void World::TellTableChanged() {
  if (!host_.alive()) return;
  Renew();
  // Where the notifications did not fit, only that is known.
  TableChange change;
  change.noticed = step_.boot;
  change.lost = random_.Chance(30);
  if (!change.lost) change.what = {"changed"};
  host_.TableChanged(change);
  Resolve();
}

void World::Connect() {
  const Address remote = random_.Pick(Addresses());
  const uint16_t port = random_.Pick(Ports());
  const std::vector<SimulatedKernel::Element> elements = host_.kernel.Elements();
  const bool admitted = std::any_of(elements.begin(), elements.end(), [&](const auto& element) {
    return element.key.protocol == Protocol::kTcp && element.key.port == port &&
           element.key.source.Contains(remote);
  });
  if (!admitted) return;
  Tell("a session");
  host_.sessions.live().insert(
      {.remote = remote,
       .remote_port = next_port_++,
       .local = A(remote.family == Family::kIpv4 ? "192.0.2.1" : "2001:db8:1::1"),
       .local_port = port});
}

void World::Send() {
  const std::vector<SimulatedKernel::Element> elements = host_.kernel.Elements();
  if (elements.empty()) return;
  Tell("packets");
  const SimulatedKernel::Element& element = random_.Pick(elements);
  host_.kernel.Use(element.set, element.key, {.packets = 3, .bytes = 180});
}

void World::Finish() {
  if (!story_.empty()) trace_.push_back(std::exchange(story_, "the end:"));
  faults_planned_ = false;
  host_.io.Plan({});
  host_.disk.Fill(false);
  host_.disk.Break(false);
  host_.kernel.RefuseAll(false);
  host_.kernel.FailReadings(false);
  if (!host_.alive()) StartAgain();
  if (!host_.alive()) throw Violation{"the daemon does not start where nothing fails"};
  host_.clock.Synchronise(true);
  Pass(absl::Seconds(10), absl::ZeroDuration());
  BootTime last = host_.clock.Read().boot;
  for (const Entry& entry : entries_) {
    if (!entry.now) continue;
    if (entry.now->withheld)
      throw Violation{absl::StrCat("I3: grant ", entry.id, " is not restored")};
    last = std::max(last, entry.now->deadline);
  }
  // Sets that are used no more are kept for a while.
  Pass(last - host_.clock.Read().boot + absl::Minutes(2), absl::ZeroDuration());
  judge_.Empty();
}

}  // namespace postern::simulation

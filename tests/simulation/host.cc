#include "tests/simulation/host.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/simulation/seams.h"

namespace postern::simulation {

GatekeeperOptions Options() {
  GatekeeperOptions options;
  options.limits.max_live_grants = 8;
  options.gate.ports = options.limits.guarded_ports;
  return options;
}

Host::Host(Random& random, bool files)
    : io(clock, random), kernel(clock, io, random), disk(io, random, files) {}

bool Host::Survives(const std::function<void()>& work) {
  try {
    work();
    return true;
  } catch (const Crash&) {
    Kill();
    return false;
  }
}

void Host::Announced(const AuditEvent& event) {
  if (event.number != announced_ + 1) {
    throw Violation{absl::StrCat("I4: event ", event.number, " is announced after ", announced_)};
  }
  announced_ = event.number;
}

bool Host::IsOfAGrant(const Flow& flow) const {
  const Now now = clock.Read();
  return std::any_of(disk.grants().begin(), disk.grants().end(), [&](const auto& entry) {
    const Grant& grant = entry.second;
    const bool live = grant.state == GrantState::kActive && grant.deadline > now.boot &&
                      grant.end > now.wall && grant.boot_id == clock.BootId();
    if (!live && !grant.sessions_pending) return false;
    const std::vector<AccessKey> keys = SessionKeysOf(grant);
    return std::any_of(keys.begin(), keys.end(), [&](const AccessKey& key) {
      return key.protocol == Protocol::kTcp && key.port == flow.local_port &&
             key.source.Contains(flow.remote);
    });
  });
}

bool Host::Start() {
  firewall_seam_ = FirewallSeam(kernel);
  store_seam_ = StoreSeam(disk);
  Firewall& firewall = firewall_seam_ ? *firewall_seam_ : kernel;
  if (!kernel.table()) {
    older_ = sessions.live();
    std::erase_if(older_, [this](const Flow& flow) { return IsOfAGrant(flow); });
  }
  gatekeeper_ = std::make_unique<Gatekeeper>(
      Options(),
      Gatekeeper::Collaborators{.clock = clock,
                                .store = store_seam_ ? *store_seam_ : disk,
                                .firewall = firewall,
                                .sessions = sessions,
                                .announce = [this](const AuditEvent& event) { Announced(event); },
                                .report =
                                    [this](const absl::Status& status) {
                                      io.Tell(absl::StrCat("[", status.message(), "]"));
                                    }});
  return Survives([&] {
    absl::Status status = gatekeeper_->Start();
    if (status.ok()) return;
    io.Tell(absl::StrCat("[did not start: ", status.message(), "]"));
    status = CloseGate(firewall, sessions, Options().gate).status();
    Kill();
  });
}

bool Host::Stop() {
  const bool lived = Survives([&] { gatekeeper_->Stop(); });
  if (!lived) return false;
  disk.Close();
  Kill();
  return lived;
}

void Host::Kill(Death death) {
  gatekeeper_.reset();
  firewall_seam_.reset();
  store_seam_.reset();
  disk.Recover(death);
  announced_ = disk.last_audit_number();
}

void Host::Reboot(absl::Duration down) {
  kernel.Reboot();
  sessions.live().clear();
  older_.clear();
  clock.Reboot(down);
  io.Plan({});
  const bool refuses = !kernel.well();
  kernel.RefuseAll(false);
  kernel.FailReadings(false);
  if (!CloseGate(kernel, sessions, Options().gate).ok()) {
    throw Violation{"I1: the gate cannot be closed at boot"};
  }
  kernel.RefuseAll(refuses);
}

bool Host::Drain() {
  return Survives([&] { mailbox.Drain(*gatekeeper_); });
}

bool Host::ClockChanged() {
  return Survives([&] { gatekeeper_->OnClockChanged(); });
}

bool Host::TableChanged(const TableChange& change) {
  return Survives([&] { gatekeeper_->OnTableChanged(change); });
}

bool Host::Alarm() {
  return Survives([&] { gatekeeper_->OnAlarm(); });
}

}  // namespace postern::simulation

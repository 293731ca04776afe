// One simulated machine and the daemon on it.

#ifndef POSTERN_TESTS_SIMULATION_HOST_H_
#define POSTERN_TESTS_SIMULATION_HOST_H_

#include <functional>
#include <memory>
#include <set>

#include "agent/enforcer/gatekeeper.h"
#include "agent/enforcer/mailbox.h"
#include "agent/firewall/table_change.h"
#include "tests/simulation/clock.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/io.h"
#include "tests/simulation/kernel.h"
#include "tests/simulation/sessions.h"
#include "tests/support/random.h"

namespace postern::simulation {

// Each call that runs the daemon returns whether it lived through it.
// One thread; `random` is borrowed.
class Host {
 public:
  // With `files`, the ledger is the daemon's own store (disk.h).
  Host(Random& random, bool files);
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // As the service manager does it: one attempt. A daemon that cannot start
  // leaves a closed gate.
  bool Start();
  // SIGTERM.
  bool Stop();
  // SIGKILL, or what power is to it.
  void Kill(Death death = Death::kKilled);
  // Power goes; the early-boot unit has closed the gate when this returns.
  void Reboot(absl::Duration down);
  // What the mailbox holds.
  bool Drain();
  bool Alarm();
  // The kernel tells that the wall clock was set, or that the machine woke up.
  bool ClockChanged();
  // The kernel tells that somebody else changed the table.
  bool TableChanged(const TableChange& change);

  bool alive() const { return gatekeeper_ != nullptr; }
  Gatekeeper& gatekeeper() { return *gatekeeper_; }
  const Gatekeeper& gatekeeper() const { return *gatekeeper_; }

  // Connections that no rule of the gate has judged.
  const std::set<Flow>& older() const { return older_; }

  SimulatedClock clock;
  Io io;
  SimulatedKernel kernel;
  SimulatedDisk disk;
  SimulatedSessions sessions{io};
  Mailbox mailbox;

 private:
  bool Survives(const std::function<void()>& work);
  void Announced(const AuditEvent& event);
  // One that lives, or whose sessions are still to be ended.
  bool IsOfAGrant(const Flow& flow) const;

  std::unique_ptr<Firewall> firewall_seam_;
  std::unique_ptr<Store> store_seam_;
  std::unique_ptr<Gatekeeper> gatekeeper_;
  uint64_t announced_ = 0;
  std::set<Flow> older_;
};

// What the daemon is configured with.
GatekeeperOptions Options();

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_HOST_H_

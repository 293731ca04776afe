// The simulated kernel: a table that a daemon's death does not touch.

#ifndef POSTERN_TESTS_SIMULATION_KERNEL_H_
#define POSTERN_TESTS_SIMULATION_KERNEL_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/firewall/firewall.h"
#include "tests/fakes/fake_firewall.h"
#include "tests/simulation/clock.h"
#include "tests/simulation/io.h"
#include "tests/support/random.h"

namespace postern::simulation {

// FakeFirewall's table and checks; timeouts that count ticks and not the time
// that the machine slept; faults. One thread; everything is borrowed.
class SimulatedKernel final : public Firewall {
 public:
  SimulatedKernel(const SimulatedClock& clock, Io& io, Random& random)
      : clock_(clock), io_(io), random_(random), ticks_(clock), table_(ticks_) {}

  absl::Status Commit(const Transaction& transaction) override;
  absl::StatusOr<bool> HasTable() override;
  absl::StatusOr<std::vector<SetId>> ReadSets() override;
  absl::StatusOr<std::vector<InstalledElement>> ReadElements(const SetId& set) override;
  absl::StatusOr<std::optional<InstalledElement>> ReadElement(const SetId& set,
                                                              const AccessKey& key) override;
  absl::StatusOr<std::vector<Flow>> ReadOlderFlows() override;
  absl::StatusOr<std::vector<InstalledElement>> ReadDenied(bool enforce) override;
  absl::StatusOr<Counter> ReadCounter(absl::string_view name) override;

  // Refuses every transaction, and fails every reading.
  void RefuseAll(bool on) { refuses_ = on; }
  void FailReadings(bool on) { fails_readings_ = on; }
  bool well() const { return !refuses_ && !fails_readings_; }

  // Other programs.
  void DeleteTable() {
    table_.DeleteTable();
    tampered_ = true;
  }
  // Takes away one element; false when there is none.
  bool RemoveSomeElement();
  void Use(const SetId& set, const AccessKey& key, Counter packets) {
    table_.Use(set, key, packets);
  }
  void Reboot();

  struct Element {
    SetId set;
    AccessKey key;
    BootTime end;
  };
  // Those that have not expired, and when they will if the machine does not
  // sleep.
  std::vector<Element> Elements() const;
  const std::optional<FakeTable>& table() const { return table_.table(); }

  // Another program changed the table, and the whole table was not replaced
  // since.
  bool tampered() const { return tampered_; }
  // A transaction has failed, and the whole table was not replaced since: what
  // the table holds is known to nobody but us.
  bool uncertain() const { return uncertain_; }
  BootTime last_fault() const { return last_fault_; }
  // How much later elements may expire that were put before the machine slept.
  absl::Duration overslept() const { return clock_.suspended() - suspended_before_; }
  // All ends were told again.
  void ForgetOverslept() { suspended_before_ = clock_.suspended(); }

 private:
  Transaction Timed(const Transaction& transaction);
  absl::Status CheckReading() const;

  const SimulatedClock& clock_;
  Io& io_;
  Random& random_;
  TickClock ticks_;
  FakeFirewall table_;
  bool refuses_ = false;
  bool fails_readings_ = false;
  bool uncertain_ = false;
  bool tampered_ = false;
  BootTime last_fault_;
  absl::Duration suspended_before_;
};

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_KERNEL_H_

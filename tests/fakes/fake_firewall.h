// The kernel's packet filter as a model: a transaction is applied to plain
// values with the checks that the kernel makes, all of it or nothing.

#ifndef POSTERN_TESTS_FAKES_FAKE_FIREWALL_H_
#define POSTERN_TESTS_FAKES_FAKE_FIREWALL_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/firewall/firewall.h"
#include "agent/firewall/ruleset.h"
#include "common/clock.h"

namespace postern {

struct FakeElement {
  BootTime end;
  Counter counter;
};

// What stands in the kernel.
struct FakeTable {
  std::set<std::string> chains;
  std::vector<Rule> rules;
  std::map<std::string, Counter, std::less<>> counters;
  std::map<SetId, std::map<AccessKey, FakeElement>> sets;
  std::map<std::string, std::vector<Bytes>> constant_sets;
  // When their elements go.
  std::map<std::string, BootTime, std::less<>> timed_sets;
  std::map<std::string, std::vector<InstalledElement>> denied_sets;
};

// One thread. `clock` is borrowed. Outlives the Gatekeeper that uses it, as the
// kernel outlives the daemon.
class FakeFirewall final : public Firewall {
 public:
  explicit FakeFirewall(const Clock& clock) : clock_(clock) {}

  absl::Status Commit(const Transaction& transaction) override;
  absl::StatusOr<bool> HasTable() override { return table_.has_value(); }
  absl::StatusOr<bool> OwnsTable() override { return protected_ && table_.has_value(); }
  absl::StatusOr<std::vector<SetId>> ReadSets() override;
  absl::StatusOr<std::vector<InstalledElement>> ReadElements(const SetId& set) override;
  absl::StatusOr<std::optional<InstalledElement>> ReadElement(const SetId& set,
                                                              const AccessKey& key) override;
  absl::StatusOr<std::vector<Flow>> ReadOlderFlows() override;
  absl::StatusOr<std::vector<InstalledElement>> ReadDenied(bool enforce) override;
  absl::StatusOr<Counter> ReadCounter(absl::string_view name) override;

  // While this is an error, Commit answers it and changes nothing.
  void FailCommits(absl::Status status) { commit_failure_ = std::move(status); }
  // Commit refuses every transaction that puts an element of this address.
  void RefuseSource(const Address& address) { refused_ = address; }
  // The kernel did what the next transaction says, and its answer is lost.
  void LoseNextAck() { lose_next_ack_ = true; }
  // Another program deletes the table.
  void DeleteTable() { table_.reset(); }
  // For what else it may do to the table, which must be there.
  FakeTable& Tamper() { return *table_; }
  // The table is this firewall's own, or (as at first) open to other programs.
  void Protect(bool on) { protected_ = on; }
  // A packet passes through an element of this key.
  void Use(const SetId& set, const AccessKey& key, Counter packets);

  // Whether a new packet would find an element that has not expired.
  bool Admits(const Address& source, Protocol protocol, uint16_t port) const;
  // Whether there are rules that drop, and (where the table asks for it) an element
  // that lets them.
  bool Drops() const;
  // Empty while there is no table. Holds expired elements as well.
  const std::optional<FakeTable>& table() const { return table_; }
  int commits() const { return commits_; }

 private:
  InstalledElement Read(const AccessKey& key, const FakeElement& element) const;

  const Clock& clock_;
  absl::Status commit_failure_;
  std::optional<Address> refused_;
  bool lose_next_ack_ = false;
  bool protected_ = false;
  int commits_ = 0;
  std::optional<FakeTable> table_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_FAKES_FAKE_FIREWALL_H_

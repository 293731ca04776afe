// The one owner of the ledger, the store and the firewall: decides, records,
// programs, announces, in this order.

#ifndef POSTERN_AGENT_ENFORCER_GATEKEEPER_H_
#define POSTERN_AGENT_ENFORCER_GATEKEEPER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/enforcer/programmer.h"
#include "agent/enforcer/repair_log.h"
#include "agent/enforcer/unrecorded.h"
#include "agent/enforcer/usage.h"
#include "agent/firewall/builder.h"
#include "agent/firewall/firewall.h"
#include "agent/grants/audit.h"
#include "agent/grants/grant.h"
#include "agent/grants/ledger.h"
#include "agent/grants/limits.h"
#include "agent/grants/standing.h"
#include "agent/sessions/sessions.h"
#include "agent/store/store.h"
#include "common/clock.h"
#include "common/latency_histogram.h"

namespace postern {

struct CreateGrant {
  GrantRequest request;
};
struct ExtendGrant {
  std::string id;
  absl::Duration by;
};
struct MoveGrant {
  std::string id;
  std::vector<Prefix> sources;
};
struct RevokeGrant {
  std::string id;
  bool keep_sessions = false;
  std::string reason = {};
  // A newer grant takes its place.
  bool superseded = false;
};

// One change that somebody asks for, and where the answer goes.
struct Command {
  std::variant<CreateGrant, ExtendGrant, MoveGrant, RevokeGrant> request;
  // The authenticated peer.
  std::string actor;
  // Called exactly once, on the gatekeeper's thread.
  std::function<void(absl::StatusOr<Grant>)> done;
};

struct GatekeeperOptions {
  GateOptions gate;
  Limits limits;
};

struct GateStatus {
  size_t live_grants = 0;
  std::optional<absl::Time> next_end;
  absl::Time started;
  Counter dropped;
  absl::Time now;
  bool enforced = false;
  // Prefixes that need no grant.
  size_t always_allowed = 0;
  Standing standing;
  bool table_protected = false;
  GateRepairs repairs;
  // Grants of before the last reboot that wait for a clock to be trusted, or for a
  // disk that takes the record of their restore.
  size_t withheld_grants = 0;
  std::string withheld_reason;
  // Of the last grant whose caller told its clock.
  std::optional<absl::Duration> clock_skew;
  std::vector<std::string> warnings;
};

// A source that no grant covered, and the port that it knocked on.
struct DeniedSource {
  Address source;
  Protocol protocol = Protocol::kTcp;
  uint16_t port = 0;
  // Of its last packet. Late by what the machine slept since then.
  absl::Time last_seen;
  Counter packets;
};
struct DeniedAnswer {
  // Those that were seen last come first.
  std::vector<DeniedSource> sources;
  // How many are remembered.
  size_t total = 0;
  // They were dropped, and not let through.
  bool enforced = false;
  absl::Time now;
};

struct AccessAnswer {
  bool allowed = false;
  std::string grant_id;
  std::optional<absl::Time> end;
  std::string reason;
};

// Makes a closed gate, without any grant, where no table stands; a standing one
// is left as it is; whether it was made. For a daemon that cannot start: nothing
// may pass that it should have guarded.
absl::StatusOr<bool> CloseGate(Firewall& firewall, Sessions& sessions, const GateOptions& gate);

// All calls are made from one thread. The collaborators are borrowed and must
// outlive it.
class Gatekeeper {
 public:
  struct Collaborators {
    const Clock& clock;
    Store& store;
    Firewall& firewall;
    Sessions& sessions;
    // Called for each event after it is durable.
    std::function<void(const AuditEvent&)> announce;
    // Called with each failure that no caller is told of.
    std::function<void(const absl::Status&)> report;
  };

  Gatekeeper(GatekeeperOptions options, Collaborators collaborators);
  Gatekeeper(const Gatekeeper&) = delete;
  Gatekeeper& operator=(const Gatekeeper&) = delete;

  // Reads the ledger and replaces the table in one batch. The gate is closed,
  // and open for the live grants, when this returns OK, also where the disk takes no
  // record of that yet. `ledger_replaced` says
  // why the store begins anew, for the audit; empty where it does not. With
  // `enforced_before` a gate that was armed stays so, where the store is new and does
  // not know of it.
  absl::Status Start(absl::string_view ledger_replaced = "", bool enforced_before = false);

  // Records that the agent stops. The gate and the live grants stay as they
  // are.
  void Stop();

  // Decides the commands in order, makes them durable in one transaction,
  // programs them in one batch and answers each. When the batch is refused, each
  // command is tried alone, and those that the kernel refuses are taken back; what
  // was decided on top of one that is refused is decided anew.
  void Execute(std::vector<Command> commands);

  // What is due now: records grants whose end has come (the kernel has closed, or
  // is closing, what they opened; of very many the first), reads the usage of those
  // whose end is near and of all from time to time, and tries again what failed.
  void OnAlarm();
  // When OnAlarm is wanted next; empty when nothing will be due.
  std::optional<BootTime> NextAlarm() const;

  // Takes new options; the table is replaced when the gate's differ. On an error
  // the old options stay in force. Live grants stay even where the new limits
  // would refuse them; those for ports that are guarded no more stay harmless.
  absl::Status Reconfigure(GatekeeperOptions options, absl::string_view actor);

  // Ends all grants and refuses new ones until LiftLockdown, also after a
  // restart; how many were ended. It takes effect even where it cannot be
  // recorded yet. UNAVAILABLE where the kernel does not end all of them: a repeat
  // tries the rest again.
  absl::StatusOr<size_t> LockDown(absl::string_view reason, absl::string_view actor);
  absl::Status LiftLockdown(absl::string_view actor);

  // Enforces where the options say observe, for good once Confirm comes within
  // the time given. Answers with the sessions that no grant covers: they stay,
  // but could not be opened again. FAILED_PRECONDITION where there is nothing to
  // arm, confirm or disarm.
  absl::StatusOr<std::vector<Flow>> Arm(absl::Duration within, absl::string_view actor);
  absl::Status Confirm(absl::string_view actor);
  absl::Status Disarm(absl::string_view actor);
  const Standing& standing() const { return standing_; }
  // Whether packets are dropped, by the options or because the gate is armed.
  bool enforces() const { return options_.gate.enforce; }
  // The same, and no confirmation has to come for it to stay so.
  bool enforces_for_good() const { return options_.gate.enforce && !options_.gate.enforce_until; }

  // The wall clock may have been set, or the machine may have slept: compares
  // every end with both clocks, and the kernel's timeouts with them.
  void OnClockChanged();

  // The sessions on the ports of `options` that could not be opened again under
  // them: no grant covers their peers.
  absl::StatusOr<std::vector<Flow>> ExposedSessions(const GatekeeperOptions& options) const;
  // Of these, those that could be opened again before Reconfigure(options).
  absl::StatusOr<std::vector<Flow>> NewlyExposedSessions(const GatekeeperOptions& options) const;

  // Somebody else changed the table: makes it anew, at once, in one batch.
  void OnTableChanged(const TableChange& change);

  // Queries. A grant's usage is read from the kernel.
  absl::StatusOr<Grant> Get(absl::string_view id);
  absl::StatusOr<std::vector<Grant>> List(int64_t after, size_t limit, bool include_ended);
  absl::StatusOr<std::vector<AuditEvent>> Audit(uint64_t after, absl::Time since, size_t limit);
  // By the ledger; where the kernel may hold something else, the answer says so.
  AccessAnswer Check(const Address& source, Protocol protocol, uint16_t port) const;
  absl::StatusOr<GateStatus> Status();
  // The same without a look at the kernel: `dropped` and `table_protected` are
  // not set.
  GateStatus KnownStatus() const;
  // At most `most` of the sources that were refused in the last kDeniedFor.
  absl::StatusOr<DeniedAnswer> Denied(size_t most);
  size_t live_grants() const { return ledger_.size(); }
  // Grants of another boot that are not in force before this boot's clock can be
  // trusted; List() has them among those that live.
  const std::vector<Grant>& withheld() const { return withheld_; }
  // As they are in force.
  const Limits& limits() const { return options_.limits; }
  // The wall time of the next end; empty without live grants.
  std::optional<absl::Time> NextEnd() const;
  uint64_t last_audit_number() const { return audit_number_; }
  // Since this object was made: of transactions, and of programming their changes
  // in the kernel.
  const LatencyHistogram& commit_latency() const { return commit_latency_; }
  const LatencyHistogram& apply_latency() const { return apply_latency_; }

 private:
  // A decided change of one grant. It stands in the ledger in memory already.
  struct Change {
    std::optional<Grant> before;
    Grant after;
    AuditEvent event;
    // Without `done` for the agent's own changes.
    Command command;
  };
  // A change that is recorded, and that the kernel refused.
  struct Refused {
    Change change;
    absl::Status why;
    // A later change of the same grant is what the store holds.
    bool superseded = false;
  };
  // A reply that changes nothing: a repeat of what is there already.
  struct Repeat {
    std::string id;
    // What a change of the same batch is to make of the grant, and this repeats.
    std::optional<Grant> follows;
    Command command;
  };
  struct Batch {
    std::vector<Change> changes;
    std::vector<Repeat> repeats;
  };

  void Decide(Command command, const Now& now, Batch& batch);
  // The grant as it would be; the same as the one that is there for a repeat.
  absl::StatusOr<Change> Verdict(const CreateGrant& create, absl::string_view actor,
                                 const Now& now);
  absl::StatusOr<Change> Verdict(const ExtendGrant& extend, absl::string_view actor,
                                 const Now& now);
  absl::StatusOr<Change> Verdict(const MoveGrant& move, absl::string_view actor, const Now& now);
  absl::StatusOr<Change> Verdict(const RevokeGrant& revoke, absl::string_view actor,
                                 const Now& now);
  absl::StatusOr<Grant> FindLive(absl::string_view id);
  absl::StatusOr<Grant> FindAny(absl::string_view id);

  // Gives the commands that have to be decided anew.
  std::vector<Command> Perform(Batch batch, const Now& now);
  absl::Status Record(const std::vector<Change>& changes);
  // Numbers the events of `writes` and makes them durable, after what waits in
  // unrecorded_. All or nothing; the events wait in announcements_.
  absl::Status Commit(std::vector<Write>& writes);
  // The wall time to write beside the events; empty where they tell it.
  std::optional<absl::Time> TimeToRecord(const Now& now) const;
  // How the clocks stand to each other; empty where that is recorded.
  std::optional<BootClock> ClockToRecord(const Now& now) const;
  // Once whoever asked has an answer: in the order of their numbers, by which a
  // watcher resumes.
  void AnnounceRecorded();
  // `changes` could not be recorded. Withdrawals stay, to be recorded later; the
  // others are refused and removed, and of those that stood on them, the commands
  // go to `again`.
  void KeepWithdrawals(std::vector<Change>& changes, const absl::Status& why, const Now& now,
                       std::vector<Command>& again);
  void KeepUnrecorded(Write write, const absl::Status& why, const Now& now);
  // Tries again what failed, when its time has come.
  void RetryDue(const Now& now);
  // Programs changes that are durable; those that the kernel refuses are
  // answered, taken back and removed from `changes`, and of those that stood on
  // them, the commands go to `again`.
  void Program(std::vector<Change>& changes, const Now& now, std::vector<Command>& again);
  static bool HasChangeOf(const std::vector<Change>& changes, absl::string_view id);
  // Whether `change` is of the grant as the ledger has it.
  bool Follows(const Change& change) const;
  absl::Status Apply(const std::vector<Change>& changes, const Now& now);
  // Adds the time since `began`.
  void Observe(LatencyHistogram& latency, BootTime began) const;
  absl::Status ProgramAlone(const Change& change, const Now& now);
  // Removes from the store what the kernel refused. Only once the kernel equals
  // the ledger: until then it may hold it all the same.
  void TakeBackRefused();
  // Answers all of them with an error while the kernel cannot be made equal to
  // the ledger.
  bool RefuseInDoubt(std::vector<Command>& commands);
  // Takes out of the kernel what has ended by our clock: its timeouts do not count the
  // time that the machine slept.
  void CloseDue(const Now& now);
  // The first of those that have ended, and all of `named` that have.
  std::vector<std::string> DueOf(const std::vector<std::string>& named, const Now& now) const;
  // Closes all that has ended, and records the first of them, and those that are named.
  // Whether more may wait for that: their alarm is due at once.
  bool ExpireDue(const Now& now, const std::vector<std::string>& named);
  // Without those that have ended and are not recorded yet.
  size_t LiveAt(const Now& now) const;
  void ReadUsage(const std::vector<std::string>& ids, const Now& now);
  void ReadUsageDue(const Now& now);
  void PruneSets(const Now& now);
  // While grants live, the ledger learns the wall time once in a while.
  void RecordTimeDue(const Now& now);
  // Those of grants that have ended and are marked in the store; without an error
  // the marks go, in one of the next transactions.
  void EndSessions(const std::vector<Grant>& ended);
  void EndSessionsOf(const std::vector<Change>& changes);
  void ClearMarksDue(const Now& now);

  void PutInLedger(const Change& change);
  void PutBackInLedger(const Change& change);

  absl::Status RecordAgentEvent(AuditKind kind, absl::string_view actor, absl::string_view detail,
                                std::vector<Write> writes = {});
  // Puts the grants that have time left into the ledger, and adds to `writes`
  // what the store must learn: ends that fell due, deadlines on this boot's
  // clock, and the usage that the standing table counted and the new one will
  // not. Those that cannot be judged by this clock are withheld.
  absl::Status RestoreGrants(const std::vector<Grant>& stored, const Now& now,
                             std::vector<Write>& writes, std::vector<Grant>& ended);
  // Records the start with `writes`. What the disk does not take now is in force and
  // waits in unrecorded_, but for grants of another boot among `stored`: these are
  // withheld, and are not in `ended`.
  absl::Status RecordStart(const std::vector<Grant>& stored, std::vector<Write> writes,
                           std::vector<Grant>& ended);
  // The ids of those that are withheld because of `why`.
  std::set<std::string> WithholdOtherBoots(const std::vector<Grant>& stored,
                                           const absl::Status& why);
  // Why the wall clock cannot be trusted; empty when it can.
  std::string WhyClockIsNotTrusted(const Now& now) const;
  void RestoreWithheld(const Now& now);
  bool IsWithheld(absl::string_view id) const;

  void RestoreStanding(const Standing& standing, const Now& now, std::vector<Write>& writes);
  absl::Status PutInForce(GatekeeperOptions options);
  // The options as the standing orders change them.
  GatekeeperOptions Effective(GatekeeperOptions options) const;
  // Records `standing` and puts it in force, with the table it needs.
  absl::Status TakeStanding(Standing standing, AuditKind kind, absl::string_view actor,
                            absl::string_view detail);
  void DisarmIfDue(const Now& now);
  // Where the wall clock stepped by `least` or more, or the machine slept:
  // shortens what would end later than its wall time, and tells the kernel the
  // ends again.
  void CompareClocks(const Now& now, absl::Duration least);
  // How many grants end sooner.
  size_t ShortenToWallEnds(const Now& now);
  // Those that no grant covers.
  std::vector<Flow> Uncovered(std::vector<Flow> flows) const;
  AccessAnswer CheckLedger(const Address& source, Protocol protocol, uint16_t port) const;
  // `ended`: those whose sessions are still to be ended.
  absl::StatusOr<LiveFlows> OlderFlowsAtStart(const std::vector<Grant>& ended, const Now& now);
  absl::StatusOr<LiveFlows> OlderFlowsAfter(const GatekeeperOptions& next);
  std::optional<BootTime> NextLookAtOlder() const;
  void PruneOlderDue(const Now& now);
  // Takes those out of older_ and the table that live no more.
  void PruneOlder(const Now& now);
  // Where the usage of grants is from when their table goes: the elements'
  // counters, or what was last read of them.
  enum class UsageBefore { kRead, kKnown };
  // Replaces the table, and keeps what the old one counted.
  absl::Status RebuildTable(const GateOptions& gate, const LiveFlows& older,
                            UsageBefore usage = UsageBefore::kRead,
                            const std::vector<InstalledElement>& denied = {});
  // The refused sources of the standing table that one for `gate` begins with;
  // none where the mode is another: what was let through was not denied.
  std::vector<InstalledElement> DeniedToKeep(const GateOptions& gate);
  std::vector<Grant> CountedGrants(const Now& now, UsageBefore usage);
  // What the standing table counted as dropped; of one that is gone, what it had
  // counted when it was last read.
  absl::StatusOr<Counter> ReadDropped();
  // Repairs the table and records repairs, as far as they are due.
  void RepairDue(const Now& now);
  void Repair();
  void RecordRepairs(const std::optional<std::string>& line);
  // Where there is no table any more, makes it anew; whether that was so and it
  // worked.
  bool RestoredLostTable();
  // The kernel may hold something else than the ledger says.
  bool IsTableInDoubt() const;
  // After a batch whose outcome is not known: makes the kernel equal to the
  // ledger again, or tries once more in a while.
  void Resync(UsageBefore usage = UsageBefore::kRead);
  void Report(const absl::Status& status, absl::string_view context) const;

  // As agent.yaml has them.
  GatekeeperOptions configured_;
  // As they are in force.
  GatekeeperOptions options_;
  Collaborators with_;
  Ledger ledger_;
  // Ended by the batch that is being decided; the store still has them as live.
  std::map<std::string, Grant, std::less<>> just_ended_;
  Programmer programmer_;
  LiveFlows older_;
  // Of these, those that the last look did not find.
  std::set<Flow> older_missed_;
  BootTime older_seen_at_;
  // What the tables before the standing one counted as dropped.
  Counter dropped_before_;
  // What the standing one had when it was last read.
  Counter dropped_seen_;
  std::string boot_id_;
  absl::Time started_;
  int64_t sequence_ = 0;
  uint64_t audit_number_ = 0;
  UsageReader usage_;
  // What has ended up to here is out of the kernel.
  BootTime closed_until_{-absl::InfiniteDuration()};
  // The usage of grants that end up to here has had its last reading.
  BootTime usage_read_until_;
  BootTime usage_read_at_;
  // When something was last made durable.
  BootTime recorded_at_;
  // The kernel may hold something else than the ledger says.
  bool resync_wanted_ = false;
  std::vector<Refused> refused_;
  RepairLog repairs_;
  Unrecorded unrecorded_;
  std::vector<AuditEvent> announcements_;
  // Grants whose sessions are ended, while the store still has them as pending; and
  // when it is told at the latest.
  std::vector<std::string> marked_;
  BootTime clear_marks_at_;
  bool clearing_failed_ = false;
  // Ended grants whose sessions could not be ended yet.
  std::vector<Grant> owed_;
  // Why the sockets of ended sessions stay; empty where none had to.
  std::string sockets_stay_;
  // When to try again what failed.
  std::optional<BootTime> retry_at_;
  Standing standing_;
  std::vector<Grant> withheld_;
  std::string withheld_reason_;
  BootTime withheld_check_at_;
  // The last wall time in the ledger that is to be believed.
  std::optional<absl::Time> last_seen_;
  std::optional<absl::Time> seen_before_start_;
  // What was written last beside the events.
  std::optional<absl::Time> recorded_time_;
  // Of this boot, or of an earlier one whose grants wait.
  std::optional<BootClock> recorded_clock_;
  // Both clocks at the last step, and the last sleep, that were told of: smaller ones
  // add up from there.
  Now compared_at_;
  std::optional<absl::Duration> clock_skew_;
  LatencyHistogram commit_latency_;
  LatencyHistogram apply_latency_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_ENFORCER_GATEKEEPER_H_

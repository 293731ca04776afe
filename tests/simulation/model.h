// What grants mean, as a naive reader of the requests would keep it: a list and
// a scan. Knows nothing of the product's decisions, its ledger or its elements.

#ifndef POSTERN_TESTS_SIMULATION_MODEL_H_
#define POSTERN_TESTS_SIMULATION_MODEL_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/enforcer/gatekeeper.h"
#include "agent/grants/grant.h"
#include "agent/grants/limits.h"
#include "common/clock.h"

namespace postern::simulation {

using Request = decltype(Command::request);

struct ModelGrant {
  GrantRequest asked;
  std::vector<Prefix> sources;
  // Those that moves took from it.
  std::vector<Prefix> earlier = {};
  absl::Time start;
  absl::Time end;
  BootTime deadline;
  GrantState state = GrantState::kActive;
  // The machine has booted since, and the daemon has not restored it.
  bool withheld = false;
  // Then: its end by the wall clock as that was set last in the boot it is of.
  absl::Time end_by_boot = absl::InfiniteFuture();

  bool cut() const { return asked.on_expiry.value_or(OnExpiry::kKeep) != OnExpiry::kKeep; }
  bool LiveAt(BootTime time) const {
    return state == GrantState::kActive && !withheld && deadline > time;
  }
  // The same, though it may have run out since.
  bool LivedAt(BootTime time) const {
    return state != GrantState::kRevoked && !withheld && deadline > time;
  }
  bool Covers(const Address& source, Protocol protocol, uint16_t port) const;
  // The same, or it has covered it before it was moved.
  bool HasCovered(const Address& source, Protocol protocol, uint16_t port) const;
  // Whether one of its sources and ports is exactly this.
  bool Names(const AccessKey& key) const;
  std::vector<AccessKey> Keys() const;

  // What may change of it.
  friend bool operator==(const ModelGrant& a, const ModelGrant& b) {
    return a.sources == b.sources && a.end == b.end && a.deadline == b.deadline &&
           a.state == b.state && a.withheld == b.withheld;
  }
};

// Empty: there is no such grant.
using Version = std::optional<ModelGrant>;

struct OpenRequest {
  Request request;
  // Its place in the batch.
  size_t number = 0;
  bool refused = false;
};

// One id.
struct Entry {
  std::string id;
  // What is true: what was acknowledged, and what a crash left on the disk.
  Version now;
  // What the kernel may hold besides, because nobody could tell it otherwise.
  std::vector<Version> kernel;
  // What the disk may hold besides, once the daemon starts anew.
  std::vector<Version> leftover;
  // What the disk may hold instead while it cannot be written.
  std::vector<Version> behind;
  // A refused change was durable when something else of the grant was written:
  // where the daemon dies before it is taken back, no event tells that.
  bool untold = false;
  // What the present step may make of it by itself: see Renewed.
  Version renewed;
  // What it was before its last change, and in which step that was made; `was_late` where
  // after the step's others, on account of a refused one.
  Version was;
  uint64_t was_until = 0;
  bool was_late = false;
  // The present step's requests that are not answered, or with an error.
  std::vector<OpenRequest> open;

  bool HasUnanswered() const;
  // In the order in which they were made.
  std::vector<Request> Unanswered() const;
  std::vector<Request> Open() const;
};

enum class Expected { kAccepted, kRefused, kEither };

// `before` after `request`, where it is accepted.
Version After(const Version& before, const Request& request, const Now& now);

// `version` by both clocks at `now`, to the end that comes first; one that is
// withheld only where the wall clock is trusted, and not longer than was left when the
// ledger had last seen the time before the start (`seen`).
Version Renewed(const Version& version, const Now& now, bool trusted,
                const std::optional<absl::Time>& seen);

// What must be answered where nothing fails.
Expected Expect(const Version& before, const Request& request, const Now& now, size_t live,
                const Limits& limits);

// `start` after any of `requests`, in order: with and without each.
std::vector<Version> Outcomes(const Version& start, const std::vector<Request>& requests,
                              const Now& now);

absl::string_view IdOf(const Request& request);
// One line for a trace; ids by their number.
std::string Describe(const Request& request);

// True when what is durable is `version`; a grant that ran out may be recorded
// so or not yet.
bool Matches(const Grant* durable, const Version& version, const Now& now,
             absl::string_view boot_id);

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_MODEL_H_

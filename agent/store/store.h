// The durable ledger and the local audit.

#ifndef POSTERN_AGENT_STORE_STORE_H_
#define POSTERN_AGENT_STORE_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/grants/audit.h"
#include "agent/grants/grant.h"
#include "agent/grants/standing.h"

namespace postern {

// How the clocks of one boot stood to each other.
struct BootClock {
  std::string boot_id;
  // The wall time of the boot, by the wall clock as it was set last.
  absl::Time began;

  friend bool operator==(const BootClock&, const BootClock&) = default;
};

// What a start needs to know of the past.
struct StoredState {
  std::vector<Grant> live;
  // Ended ones whose sessions are still to be ended.
  std::vector<Grant> sessions_pending;
  int64_t last_sequence = 0;
  uint64_t last_audit_number = 0;
  Standing standing;
  // The later of the last event's time and of the last `seen`; empty in a new
  // ledger.
  std::optional<absl::Time> last_seen;
  std::optional<BootClock> clock;
};

// One part of a transaction; the parts that are set are applied in this order.
struct Write {
  // Inserts the grant, or replaces the one with its id.
  std::optional<Grant> put = std::nullopt;
  // Takes back a grant that the kernel refused.
  std::optional<std::string> erase = std::nullopt;
  std::optional<AuditEvent> audit = std::nullopt;
  // Grants whose sessions are ended now, by their ids.
  std::vector<std::string> sessions_ended = {};
  std::optional<Standing> standing = std::nullopt;
  // The wall time now, from which a later start tells a clock that went back.
  std::optional<absl::Time> seen = std::nullopt;
  // The clocks now, from which a later boot tells how much of a grant was left.
  std::optional<BootClock> clock = std::nullopt;
};

// Owned and called by one thread. Errors:
//   RESOURCE_EXHAUSTED  the disk is full
//   DATA_LOSS           what is there cannot be read as what was written
//   UNAVAILABLE         any other failure of the disk or the database
class Store {
 public:
  virtual ~Store() = default;

  virtual absl::StatusOr<StoredState> Load() = 0;

  // Makes all of `writes` durable, or none of them.
  virtual absl::Status Commit(const std::vector<Write>& writes) = 0;

  // Live or ended; empty when there is none with this id.
  virtual absl::StatusOr<std::optional<Grant>> FindGrant(absl::string_view id) = 0;

  // Grants with a sequence greater than `after`, in order, at most `limit`.
  virtual absl::StatusOr<std::vector<Grant>> ListGrants(int64_t after, size_t limit,
                                                        bool include_ended) = 0;

  // Events with a number greater than `after`, not older than `since`, in
  // order, at most `limit`.
  virtual absl::StatusOr<std::vector<AuditEvent>> ListAudit(uint64_t after, absl::Time since,
                                                            size_t limit) = 0;
};

}  // namespace postern

#endif  // POSTERN_AGENT_STORE_STORE_H_

// What agents ask of the controller, and tell it. Nothing here knows gRPC.

#ifndef POSTERN_CONTROLLER_SERVICE_FLEET_SERVICE_H_
#define POSTERN_CONTROLLER_SERVICE_FLEET_SERVICE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "controller/domain/request.h"
#include "controller/domain/resource_id.h"
#include "controller/limits/rate_limit.h"
#include "controller/store/database.h"
#include "controller/store/principals.h"

namespace postern::controller {

// A grant that a VM should hold now.
struct WantedGrant {
  std::string id = {};
  uint16_t port = 0;
  RuleProtocol protocol = RuleProtocol::kAny;
  Sources sources = {};
  absl::Time end = {};
  std::string requestor = {};
  std::string justification = {};
  PolicyOnExpiry on_expiry = PolicyOnExpiry::kUnset;
};

// A grant that an agent may still hold and should not.
struct Withdrawn {
  std::string id = {};
  std::string reason = {};
  bool keep_sessions = false;
  // A newer request took its place.
  bool superseded = false;
};

struct Wanted {
  int64_t revision = 0;
  std::vector<WantedGrant> grants = {};
  std::vector<Withdrawn> withdrawn = {};
};

struct AgentFacts {
  std::string version = {};
  std::string hostname = {};
  bool enforces = false;
  std::vector<uint16_t> guarded_ports = {};
  absl::Duration max_duration = {};
  // The agent's clock minus the controller's.
  absl::Duration clock_skew = {};
};

enum class ReportedState : uint8_t { kActive, kExpired, kRevoked, kSuperseded, kNotMade };

// What an agent says of one grant.
struct ReportedGrant {
  std::string id = {};
  ReportedState state = ReportedState::kNotMade;
  std::string reason = {};
  std::optional<absl::Time> start = {};
  std::optional<absl::Time> end = {};
  uint64_t packets = 0;
  uint64_t bytes = 0;
  std::optional<absl::Time> first_used = {};
  std::optional<absl::Time> last_used = {};
  std::optional<uint16_t> mapped_port = {};
  // The revision whose change of it is done or refused, where that of the report is
  // older.
  int64_t revision = 0;
};

struct Report {
  // The revision whose changes are all done or refused.
  int64_t revision = 0;
  std::vector<ReportedGrant> grants = {};
};

// One attachment of a VM's agent.
struct AgentStream {
  VmId vm = {};
  // New for each.
  std::string id = {};
};

// Called from any thread. Errors:
//   UNAUTHENTICATED    the join token is not good
//   PERMISSION_DENIED  the VM is not known any more
//   ABORTED            the VM has attached another time, perhaps to another controller
//   UNAVAILABLE        the store cannot be reached
class FleetService {
 public:
  // The streams of a controller that was not there for this long are over.
  static constexpr absl::Duration kControllerGone = absl::Minutes(2);

  // `database` and `clock` are borrowed.
  FleetService(Database& database, const Clock& clock);

  // The VM that `join_token` lets in: uses it up by one, and records the VM. Until the
  // VM has attached, the same token lets it in again without being used up by that.
  // `name` is the VM's, where the token is not for one alone. `address` is for
  // the audit, where refusals are as well, as far as they are not too many.
  absl::StatusOr<VmId> Enroll(absl::string_view join_token, absl::string_view name,
                              const std::string& address);
  // Records that the VM is given a certificate of this serial number, good until
  // `expires`. `renewed` is the serial number of the one that asked for it, which is
  // good until the new one is used: its answer may be lost. Empty after Enroll.
  absl::Status RecordCertificate(const VmId& vm, const std::string& serial, absl::Time expires,
                                 const std::string& renewed);
  // Whether a certificate of this serial number still speaks for the VM.
  // PERMISSION_DENIED once it has been replaced.
  absl::Status CheckCertificate(const VmId& vm, const std::string& serial);

  // Records that this controller is there: before its first stream, and while it has
  // any more often than each kControllerGone.
  absl::Status KeepAlive();
  // Forgets all controllers that were there: none but this one can be. Their streams are
  // over.
  absl::Status ForgetOthers();
  // A stream began, with a certificate that is checked as CheckCertificate does. The
  // VM's earlier one is over.
  absl::Status Attached(const AgentStream& stream, const std::string& serial,
                        const AgentFacts& facts);
  // Streams ended. A late end of an earlier one changes nothing.
  absl::Status Detached(const std::vector<AgentStream>& ended);

  absl::StatusOr<Wanted> WantedOf(const AgentStream& stream);
  // The revisions of what is wanted of all VMs, by their keys: one look tells whose is
  // another now. A VM that is not known any more is missing.
  absl::StatusOr<std::map<std::string, int64_t>> Revisions();
  // Takes what an agent reports about its own grants, as far as they are known here;
  // what it says about another VM's is refused with INVALID_ARGUMENT and changes nothing.
  absl::Status Take(const AgentStream& stream, const Report& report);

 private:
  absl::Status Join(SqlTransaction& transaction, const VmId& vm, JoinToken& token,
                    const std::string& address);
  void RecordRefusal(const absl::Status& status, absl::string_view operation, const VmId& vm,
                     const std::string& address = "");

  Database& database_;
  const Clock& clock_;
  // Of this controller, among those that share the store.
  const std::string id_;
  RateLimit refusals_;
  RateLimit all_refusals_;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_SERVICE_FLEET_SERVICE_H_

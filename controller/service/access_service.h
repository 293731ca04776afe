// What people and scripts ask of the controller. Each call decides whether the
// caller may, changes the store in one transaction together with the audit's
// row, and tells the fleet. Nothing here knows HTTP or gRPC.
//
// Errors, besides those of each call:
//   PERMISSION_DENIED  the caller's roles do not allow it; audited
//   UNAVAILABLE        the store cannot be reached
//   RESOURCE_EXHAUSTED the store's disk is full
// Those that Azure's clients read carry their code (domain/error.h).

#ifndef POSTERN_CONTROLLER_SERVICE_ACCESS_SERVICE_H_
#define POSTERN_CONTROLLER_SERVICE_ACCESS_SERVICE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "controller/domain/policy.h"
#include "controller/domain/request.h"
#include "controller/domain/resource_id.h"
#include "controller/domain/role.h"
#include "controller/service/audit_detail.h"
#include "controller/service/caller.h"
#include "controller/store/audit.h"
#include "controller/store/database.h"
#include "controller/store/policies.h"
#include "controller/store/principals.h"
#include "controller/store/requests.h"
#include "controller/store/vms.h"

namespace postern::controller {

// A policy and its requests of the last seven days, newest first.
struct PolicyView {
  Policy policy = {};
  std::vector<Request> requests = {};
};

template <typename T>
struct Page {
  std::vector<T> items = {};
  // What to pass for the next page; empty on the last.
  std::string next = {};
};

// What If-Match or If-None-Match names (RFC 9110, 13.1).
struct Versions {
  // "*": whatever there is.
  bool any = false;
  std::vector<int64_t> listed = {};
};

// A call that finds something else changes nothing.
struct Precondition {
  std::optional<Versions> match = {};
  std::optional<Versions> none_match = {};
};

// PUT of a policy: what a client that knows nothing of Postern's additions
// leaves out stays as it is.
struct PolicyChange {
  PolicyId id = {};
  std::vector<PolicyVm> vms = {};
  std::optional<PolicyAdditions> additions = {};
  Precondition precondition = {};
};

enum class VmGroup : uint8_t { kConfigured, kNotConfigured, kUnsupported };

// One VM as the portal lists it.
struct VmView {
  VmId id = {};
  std::string location = {};
  VmGroup group = VmGroup::kNotConfigured;
  // Why it is not supported: it never attached, or its agent only observes.
  std::string reason = {};
  bool attached = false;
  std::optional<absl::Time> last_seen = {};
  std::string agent_version = {};
  int requests_of_seven_days = 0;
  std::optional<absl::Time> last_access = {};
  std::string last_user = {};
  // How far the agent's clock is ahead of the controller's.
  absl::Duration clock_skew = {};
};

// A join token as it is made: its secret is told this once.
struct NewJoinToken {
  JoinToken token = {};
  std::string secret = {};
};

// An access token as it is made.
struct NewAccessToken {
  AccessToken token = {};
  std::string secret = {};
};

// Called from any thread.
class AccessService {
 public:
  // `database` and `clock` are borrowed. `changed` is told the keys of VMs whose
  // wanted state is another now, after the transaction.
  AccessService(Database& database, const Clock& clock,
                std::function<void(const std::vector<std::string>&)> changed);

  // Whether the store answers; UNAVAILABLE where it does not.
  absl::Status CheckStore();

  absl::StatusOr<PolicyView> PutPolicy(const Caller& caller, const PolicyChange& change);
  // Adds the VM with the recommended ports to the policy "default" of its group and
  // location, which is made where there is none. A VM that is in it stays as it is.
  absl::StatusOr<PolicyView> EnableVm(const Caller& caller, const VmId& vm);
  // NOT_FOUND, PolicyNotFound.
  absl::StatusOr<PolicyView> GetPolicy(const Caller& caller, const PolicyId& id);
  // Those that the caller may read.
  absl::StatusOr<Page<PolicyView>> ListPolicies(const Caller& caller, const Where& where,
                                                const std::string& page);
  // Live grants under it end. False when there was none.
  absl::StatusOr<bool> DeletePolicy(const Caller& caller, const PolicyId& id,
                                    const Precondition& precondition);

  // All of it or nothing. A repeat with the caller's client_request_id answers
  // with what the first one made.
  absl::StatusOr<Request> Initiate(const Caller& caller, const PolicyId& policy,
                                   const Asked& asked);
  absl::StatusOr<Request> GetRequest(const Caller& caller, const std::string& id);
  // Newest first; of the caller alone where they may not read others'. Without
  // `include_ended`, those that are not over, or may still be open on a VM.
  absl::StatusOr<Page<Request>> ListRequests(const Caller& caller, const Where& where,
                                             bool include_ended, const std::string& page);
  // Ends what is left of it: UserRequested.
  absl::StatusOr<Request> EndRequest(const Caller& caller, const std::string& id,
                                     const std::string& reason);
  // Adds to the end, within the policy's maximum from start to end.
  absl::StatusOr<Request> ExtendRequest(const Caller& caller, const std::string& id,
                                        absl::Duration by);
  // To another source, for a caller whose address changed.
  absl::StatusOr<Request> MoveRequest(const Caller& caller, const std::string& id,
                                      const Sources& sources);
  // Never one's own.
  absl::StatusOr<Request> ApproveRequest(const Caller& caller, const std::string& id);
  absl::StatusOr<Request> DenyRequest(const Caller& caller, const std::string& id,
                                      const std::string& reason);

  absl::StatusOr<Page<VmView>> ListVms(const Caller& caller, const Where& where,
                                       const std::string& page);
  absl::StatusOr<VmView> GetVm(const Caller& caller, const VmId& id);
  // Forgets the VM: its certificate is not accepted any more. FAILED_PRECONDITION where
  // its agent has not closed yet what was withdrawn, unless by force.
  absl::Status RemoveVm(const Caller& caller, const VmId& id, bool force);

  absl::StatusOr<NewJoinToken> CreateJoinToken(const Caller& caller, const Scope& scope,
                                               const std::string& location, int uses,
                                               absl::Duration lifetime);
  absl::StatusOr<std::vector<JoinToken>> ListJoinTokens(const Caller& caller);
  absl::Status RevokeJoinToken(const Caller& caller, const std::string& id);

  // Those that the caller has a role in, in order; with a role on everything, those
  // that VMs and policies are in.
  absl::StatusOr<std::vector<std::string>> ListSubscriptions(const Caller& caller);

  absl::StatusOr<std::vector<RoleAssignment>> ListRoles(const Caller& caller);
  absl::Status AssignRole(const Caller& caller, const RoleAssignment& assignment);
  absl::Status RemoveRole(const Caller& caller, const RoleAssignment& assignment);

  // Bearer tokens for small set-ups. `principal` gets its name as it is written.
  absl::StatusOr<NewAccessToken> CreateAccessToken(const Caller& caller,
                                                   const std::string& principal,
                                                   absl::Duration lifetime);
  // The same for whoever can write the store, and so could do everything anyway; on
  // record as the controller's own doing.
  absl::StatusOr<NewAccessToken> CreateAccessTokenOnHost(const std::string& principal,
                                                         absl::Duration lifetime);
  absl::StatusOr<std::vector<AccessToken>> ListAccessTokens(const Caller& caller);
  absl::Status RevokeAccessToken(const Caller& caller, const std::string& id);
  // In a store without any role: makes `principal` owner of everything, with a
  // token for ten years. Empty where there are roles.
  absl::StatusOr<std::optional<NewAccessToken>> MakeFirstOwner(const std::string& principal);

  // In order, at most `limit` after `query.after`.
  absl::StatusOr<std::vector<AuditRow>> ReadAudit(const Caller& caller, const AuditQuery& query,
                                                  size_t limit);
  // DATA_LOSS naming the first row that is changed, missing or out of order.
  absl::Status VerifyAudit(const Caller& caller);

  // Takes out rows of the audit from before `before`, a thousand at most.
  absl::Status TrimAudit(absl::Time before);

  // What became due: requests that reached their end, approvals that nobody
  // gave. Called by a timer; gives the time of the next.
  absl::StatusOr<absl::Time> EndWhatIsDue();

 private:
  // The changes of one call.
  struct Change {
    SqlTransaction& transaction;
    absl::Time now;
    // For the audit: what happened.
    AuditDetail detail = {};
    // Nothing was done: no row for the audit.
    bool nothing_done = false;
    // The keys of VMs whose wanted state is another now.
    std::set<std::string> vms = {};
  };
  using ChangeBody = std::function<absl::Status(Change&)>;

  // Runs `body` and writes the audit's row, in one transaction; or, where it
  // fails, a row that says so.
  absl::Status Decide(const Caller& caller, absl::string_view operation, const std::string& target,
                      const ChangeBody& body);
  // The same for what changes nothing: only a refusal is written down.
  absl::Status Look(const Caller& caller, absl::string_view operation, const std::string& target,
                    const Database::Body& body);
  void RecordFailure(const Caller& caller, absl::string_view operation, const std::string& target,
                     const absl::Status& status);

  // Ends `port`, if it is not over, and has its VM told.
  static absl::Status Close(Change& change, RequestedPort& port, EndReason reason,
                            const std::string& detail);
  // Ends what `request` takes the place of: the same port of its requestor's older ones,
  // of those that wait for approval or of the others.
  static absl::Status CloseOlder(Change& change, const Request& request, bool that_wait);
  // Gives `request` its clock and its place before older ones of its requestor.
  static absl::Status Begin(Change& change, Request& request, bool is_new);
  // With what it closes; it gets a version that no policy has had.
  absl::StatusOr<PolicyView> Store(Change& change, Policy policy);
  static absl::Status CloseWhatPolicyLost(Change& change, const Policy& policy);
  absl::StatusOr<PolicyView> ViewOf(SqlTransaction& transaction, Policy policy) const;
  absl::StatusOr<std::vector<VmView>> ViewsOf(SqlTransaction& transaction,
                                              const std::vector<VmRow>& vms) const;
  absl::Status EndPort(const DuePort& due);
  absl::Status EndLapsed(const std::string& id);
  absl::StatusOr<Request> ChangeRequest(const Caller& caller, absl::string_view operation,
                                        const std::string& id,
                                        const std::function<absl::Status(Change&, Request&)>& body);
  // The same for each of its ports that is not over, by its policy; they are
  // Initiating until the VM has them so.
  absl::StatusOr<Request> ChangePorts(
      const Caller& caller, absl::string_view operation, const std::string& id,
      const std::function<absl::Status(Change&, const Policy&, RequestedPort&)>& body);
  absl::StatusOr<NewAccessToken> PutToken(Change& change, const std::string& principal,
                                          absl::Duration lifetime, const std::string& created_by);

  Database& database_;
  const Clock& clock_;
  const std::function<void(const std::vector<std::string>&)> changed_;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_SERVICE_ACCESS_SERVICE_H_

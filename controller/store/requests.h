// The tables of requests and of their ports. A port of a request is one grant.

#ifndef POSTERN_CONTROLLER_STORE_REQUESTS_H_
#define POSTERN_CONTROLLER_STORE_REQUESTS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/domain/request.h"
#include "controller/store/database.h"
#include "controller/store/policies.h"

namespace postern::controller {

// One port, with what its request says.
struct PortRow {
  std::string request_id = {};
  std::string requestor = {};
  std::string justification = {};
  RequestedPort port = {};
  // The VM's revision with which it was withdrawn, extended or moved last; 0 while it
  // is as it was asked for.
  int64_t changed_revision = 0;
};

// The call that a request was made by.
struct ClientCall {
  // x-ms-client-request-id; empty where there was none.
  std::string id = {};
  // A digest of what it asked for; empty where none was kept.
  std::string content = {};
};

// `lapses`: when the request is over if nobody approves it.
absl::Status InsertRequest(SqlTransaction& transaction, const Request& request,
                           const ClientCall& call, const std::optional<absl::Time>& lapses);
// What can change of a request itself: its approvals and `lapses`.
absl::Status UpdateApprovals(SqlTransaction& transaction, const Request& request,
                             const std::optional<absl::Time>& lapses);
// Writes what can change of a port, with the revision of its last change, if any.
absl::Status UpdatePort(SqlTransaction& transaction, const RequestedPort& port,
                        int64_t changed_revision);
// The same for all of a row.
absl::Status UpdatePortRow(SqlTransaction& transaction, const PortRow& row);

absl::StatusOr<std::optional<Request>> FindRequest(SqlTransaction& transaction,
                                                   const std::string& id);
struct CalledRequest {
  Request request = {};
  ClientCall call = {};
};
// The request that this caller made with this x-ms-client-request-id.
absl::StatusOr<std::optional<CalledRequest>> FindRequestByCall(
    SqlTransaction& transaction, const std::string& requestor,
    const std::string& client_request_id);
// Newest first, not older than `since`.
absl::StatusOr<std::vector<Request>> RequestsOfPolicy(SqlTransaction& transaction,
                                                      const std::string& policy_key,
                                                      absl::Time since, size_t limit);

struct RequestFilter {
  Where where = {};
  // Only this requestor's; empty: everybody's.
  std::string requestor = {};
  // Only those with a port that is not over, or that its VM may still have open at this
  // time: it was withdrawn before its end, and its agent has not told that it is closed.
  std::optional<absl::Time> live_at = {};
  // Those before this one in the order of the list; empty: from the start.
  absl::Time before_start = absl::InfiniteFuture();
  std::string before_id = {};
};
// Newest first.
absl::StatusOr<std::vector<Request>> ListRequests(SqlTransaction& transaction,
                                                  const RequestFilter& filter, size_t limit);

// Ports that are not over.
absl::StatusOr<std::vector<PortRow>> LivePortsOfVm(SqlTransaction& transaction,
                                                   const std::string& vm_key);
absl::StatusOr<std::vector<PortRow>> LivePortsOfPolicy(SqlTransaction& transaction,
                                                       const std::string& policy_key);
// Ports withdrawn from a VM after `revision`.
absl::StatusOr<std::vector<PortRow>> WithdrawnPorts(SqlTransaction& transaction,
                                                    const std::string& vm_key, int64_t revision);
absl::StatusOr<std::optional<PortRow>> FindPort(SqlTransaction& transaction,
                                                const std::string& grant_id);

// A port that is over by its end.
struct DuePort {
  std::string grant_id = {};
  // The VM's resource id.
  std::string vm = {};
};
// Ports whose end has come, and requests that nobody approved in time. Of a row only what
// finds it: one that cannot be read does not hide the others.
absl::StatusOr<std::vector<DuePort>> DuePorts(SqlTransaction& transaction, absl::Time now,
                                              size_t limit);
absl::StatusOr<std::vector<std::string>> LapsedRequests(SqlTransaction& transaction, absl::Time now,
                                                        size_t limit);
// When the next of either is due; empty when none is.
absl::StatusOr<std::optional<absl::Time>> NextDue(SqlTransaction& transaction);

// What the portal shows of a VM.
struct VmHistory {
  bool in_policy = false;
  // Those that its agent has had since a point in time.
  int64_t requests = 0;
  std::optional<absl::Time> last_access = {};
  std::string last_user = {};
};
// By their keys, of those that are known.
absl::StatusOr<std::map<std::string, VmHistory>> HistoriesOfVms(
    SqlTransaction& transaction, const std::vector<std::string>& vm_keys, absl::Time since);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_REQUESTS_H_

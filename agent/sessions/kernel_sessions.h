// Sessions over the kernel: sock_diag, conntrack and the local routes.

#ifndef POSTERN_AGENT_SESSIONS_KERNEL_SESSIONS_H_
#define POSTERN_AGENT_SESSIONS_KERNEL_SESSIONS_H_

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/sessions/conntrack.h"
#include "agent/sessions/local_addresses.h"
#include "agent/sessions/matching.h"
#include "agent/sessions/sessions.h"
#include "agent/sessions/sock_diag.h"

namespace postern {

// Called by one thread. Needs CAP_NET_ADMIN for End, and says so
// (PERMISSION_DENIED).
class KernelSessions final : public Sessions {
 public:
  // Opened in the calling thread's network namespace.
  static absl::StatusOr<std::unique_ptr<KernelSessions>> Open();

  absl::StatusOr<LiveFlows> ListLive(const std::vector<uint16_t>& ports) override;

  // `flows_cut` counts the flows that this call marked, and those that were
  // marked before and that nothing covers any more. An error that concerns some
  // of the sessions does not keep the others alive: all that can be done is
  // done before it is returned.
  //   UNIMPLEMENTED        the kernel cannot destroy sockets; the flows are cut
  //   FAILED_PRECONDITION  some flows cannot be marked: no rule set labels when
  //                        they began, so that conntrack has no room for one.
  //                        Their entries are deleted instead: the gate judges
  //                        their clients' next packets anew, and holds back
  //                        their server's
  absl::StatusOr<EndReport> End(const std::vector<EndedGrant>& ended,
                                const CoverageFunction& coverage,
                                const std::set<Flow>& spared) override;

 private:
  KernelSessions(SockDiag sock_diag, Conntrack conntrack, LocalAddresses local_addresses)
      : sock_diag_(std::move(sock_diag)),
        conntrack_(std::move(conntrack)),
        local_addresses_(std::move(local_addresses)) {}

  absl::Status DestroySockets(const Matching& matching, EndReport& report);
  absl::StatusOr<std::vector<TcpSocket>> SocketsToDestroy(const Matching& matching);
  absl::Status MarkFlows(const std::vector<ConntrackEntry>& entries, EndReport& report);
  absl::Status DeleteFlows(const std::vector<ConntrackEntry>& entries);

  SockDiag sock_diag_;
  Conntrack conntrack_;
  LocalAddresses local_addresses_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_SESSIONS_KERNEL_SESSIONS_H_

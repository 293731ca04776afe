#include "agent/sessions/kernel_sessions.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern {

absl::StatusOr<std::unique_ptr<KernelSessions>> KernelSessions::Open() {
  POSTERN_ASSIGN_OR_RETURN(SockDiag sock_diag, SockDiag::Open());
  POSTERN_ASSIGN_OR_RETURN(Conntrack conntrack, Conntrack::Open());
  POSTERN_ASSIGN_OR_RETURN(LocalAddresses local_addresses, LocalAddresses::Open());
  return std::unique_ptr<KernelSessions>(
      new KernelSessions(std::move(sock_diag), std::move(conntrack), std::move(local_addresses)));
}

absl::StatusOr<LiveFlows> KernelSessions::ListLive(const std::vector<uint16_t>& ports) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<TcpSocket> sockets, sock_diag_.List(ports));
  LiveFlows flows;
  for (const TcpSocket& socket : sockets) {
    if (IsLoopback(socket.flow.remote) || IsLoopback(socket.flow.local)) continue;
    flows[socket.flow] = CookieOf(socket);
  }
  return flows;
}

absl::StatusOr<EndReport> KernelSessions::End(const std::vector<EndedGrant>& ended,
                                              const CoverageFunction& coverage,
                                              const std::set<Flow>& spared) {
  EndReport report;
  const EndedKeys keys(ended);
  if (keys.empty()) return report;

  POSTERN_ASSIGN_OR_RETURN(const PrefixIndex local, local_addresses_.Read());
  Matching matching(keys, coverage, spared, local);
  std::vector<ConntrackEntry> to_mark;
  POSTERN_RETURN_IF_ERROR(conntrack_.Visit(keys.services(), [&](ConntrackEntry entry) {
    const FlowAction action = matching.Judge(entry.flow);
    if (action == FlowAction::kLeave) return;
    if (entry.flow.cut) {
      ++report.flows_cut;
    } else {
      to_mark.push_back(std::move(entry));
    }
  }));

  // Sockets first: the gate would hold back the reset that tells the client,
  // were the flow marked before. Flows are marked whatever becomes of them.
  const absl::Status sockets = DestroySockets(matching, report);
  const absl::Status flows = MarkFlows(to_mark, report);
  POSTERN_RETURN_IF_ERROR(flows);
  POSTERN_RETURN_IF_ERROR(sockets);
  return report;
}

absl::StatusOr<std::vector<TcpSocket>> KernelSessions::SocketsToDestroy(const Matching& matching) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<TcpSocket> sockets, sock_diag_.List(matching.SocketPorts()));
  std::vector<TcpSocket> chosen;
  std::vector<TcpSocket> doubtful;
  std::vector<Flow> doubtful_flows;
  for (TcpSocket& socket : sockets) {
    switch (matching.JudgeSocket(socket.flow)) {
      case SocketAction::kLeave:
        break;
      case SocketAction::kDestroy:
        chosen.push_back(socket);
        break;
      case SocketAction::kDestroyIfUntracked:
        doubtful.push_back(socket);
        doubtful_flows.push_back(socket.flow);
        break;
    }
  }
  POSTERN_ASSIGN_OR_RETURN(const std::vector<bool> tracked, conntrack_.Has(doubtful_flows));
  for (size_t i = 0; i < doubtful.size(); ++i) {
    if (!tracked[i]) chosen.push_back(doubtful[i]);
  }
  return chosen;
}

absl::Status KernelSessions::DestroySockets(const Matching& matching, EndReport& report) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<TcpSocket> sockets, SocketsToDestroy(matching));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<int> errors, sock_diag_.Destroy(sockets));
  absl::Status refused;
  for (const int error : errors) {
    switch (error) {
      case 0:
        ++report.sockets_destroyed;
        break;
      case ENOENT:
      case ESTALE:
        // Closed meanwhile, and perhaps its addresses are another's by now.
        break;
      case EOPNOTSUPP:
        return absl::UnimplementedError(
            "ended sessions are cut, but their sockets stay until they time out: this kernel "
            "cannot destroy sockets (it is built without CONFIG_INET_DIAG_DESTROY)");
      default:
        refused.Update(sock_diag_.Refused(error));
    }
  }
  return refused;
}

absl::Status KernelSessions::MarkFlows(const std::vector<ConntrackEntry>& entries,
                                       EndReport& report) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<int> errors, conntrack_.Mark(entries));
  std::vector<ConntrackEntry> unmarkable;
  absl::Status refused;
  for (size_t i = 0; i < entries.size(); ++i) {
    switch (errors[i]) {
      case 0:
        ++report.flows_cut;
        break;
      case ENOENT:
        // The flow has ended meanwhile.
        break;
      case ENOSPC:
      case EOPNOTSUPP:
        unmarkable.push_back(entries[i]);
        break;
      default:
        refused.Update(conntrack_.Refused(errors[i], "mark a flow for cutting"));
    }
  }
  refused.Update(DeleteFlows(unmarkable));
  return refused;
}

absl::Status KernelSessions::DeleteFlows(const std::vector<ConntrackEntry>& entries) {
  if (entries.empty()) return absl::OkStatus();
  POSTERN_ASSIGN_OR_RETURN(const std::vector<int> errors, conntrack_.Delete(entries));
  for (const int error : errors) {
    if (error != 0 && error != ENOENT) return conntrack_.Refused(error, "delete a flow");
  }
  return absl::FailedPreconditionError(absl::StrCat(
      entries.size(),
      " flows of ended sessions could not be marked for cutting, because no rule set labels when "
      "they began; their conntrack entries were deleted instead, so that the gate judges them "
      "anew, but one to a published port of a container may have stayed if its server is "
      "sending"));
}

}  // namespace postern

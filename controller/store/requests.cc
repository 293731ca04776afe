#include "controller/store/requests.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"
#include "controller/store/columns.h"

namespace postern::controller {
namespace {

// PortStatus: what is over comes last.
constexpr int64_t kOver = static_cast<int64_t>(PortStatus::kRevoked);
// What is not over, one by one: SQLite takes a range for a quarter of the table, and
// looks elsewhere.
constexpr char kLive[] = "IN (0, 1, 2)";
static_assert(static_cast<int64_t>(PortStatus::kPending) == 0 && kOver == 3);
// A policy's requests are told with all their ports.
constexpr size_t kMostPortsAtOnce = 100'000;

constexpr char kPortColumns[] =
    "p.request_id, p.requestor, p.justification, p.vm, p.port, p.protocol, p.sources, "
    "p.duration_us, p.end_us, p.on_expiry, p.status, p.reason, p.detail, p.grant_id, "
    "p.mapped_port, p.applied_us, p.closed_us, p.withdrawn_revision, p.packets, p.bytes, "
    "p.first_used_us, p.last_used_us, p.end_told";

absl::StatusOr<PortRow> PortOf(const SqlRow& row) {
  PortRow result{.request_id = row.Text(0),
                 .requestor = row.Text(1),
                 .justification = row.Text(2),
                 .changed_revision = row.Int(17)};
  RequestedPort& port = result.port;
  POSTERN_ASSIGN_OR_RETURN(port.vm, VmId::Parse(row.Text(3)));
  port.number = static_cast<uint16_t>(row.Int(4));
  port.protocol = static_cast<RuleProtocol>(row.Int(5));
  POSTERN_ASSIGN_OR_RETURN(port.sources, ReadSources(row.Text(6)));
  port.duration = DurationOf(row, 7);
  port.end = OptionalTimeOf(row, 8);
  port.on_expiry = static_cast<PolicyOnExpiry>(row.Int(9));
  port.status = static_cast<PortStatus>(row.Int(10));
  port.reason = static_cast<EndReason>(row.Int(11));
  port.detail = row.Text(12);
  port.grant_id = row.Text(13);
  if (!row.IsNull(14)) port.mapped_port = static_cast<uint16_t>(row.Int(14));
  port.applied = OptionalTimeOf(row, 15);
  port.closed = OptionalTimeOf(row, 16);
  port.end_told = row.Int(22) != 0;
  port.usage = {.packets = row.Int(18),
                .bytes = row.Int(19),
                .first_used = OptionalTimeOf(row, 20),
                .last_used = OptionalTimeOf(row, 21)};
  return result;
}

absl::StatusOr<std::vector<PortRow>> Ports(SqlTransaction& transaction, absl::string_view where,
                                           absl::Span<const SqlValue> values) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(absl::StrCat("SELECT ", kPortColumns, " FROM request_ports p ", where),
                        values));
  std::vector<PortRow> ports;
  for (const SqlRow& row : rows) {
    POSTERN_ASSIGN_OR_RETURN(PortRow port, PortOf(row));
    ports.push_back(std::move(port));
  }
  return ports;
}

constexpr char kRequestColumns[] =
    "r.request_id, r.subscription, r.resource_group, r.location, r.policy_name, r.requestor, "
    "r.justification, r.start_us, r.approvals_needed, r.approver_role, r.approved_by";

absl::StatusOr<Request> RequestOf(const SqlRow& row) {
  Request request{.id = row.Text(0),
                  .policy = {.subscription = row.Text(1),
                             .resource_group = row.Text(2),
                             .location = row.Text(3),
                             .name = row.Text(4)},
                  .requestor = row.Text(5),
                  .justification = row.Text(6),
                  .start = TimeOf(row, 7),
                  .approvals_needed = static_cast<int>(row.Int(8)),
                  .approver_role = row.Text(9)};
  POSTERN_ASSIGN_OR_RETURN(request.approved_by, ReadNames(row.Text(10)));
  return request;
}

// The requests that `where` selects, with their ports: two statements whatever
// their number.
absl::StatusOr<std::vector<Request>> Requests(SqlTransaction& transaction, const std::string& where,
                                              const std::vector<SqlValue>& values) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(absl::StrCat("SELECT ", kRequestColumns, " FROM requests r ", where),
                        values));
  std::vector<Request> requests;
  std::map<std::string, size_t> places;
  for (const SqlRow& row : rows) {
    POSTERN_ASSIGN_OR_RETURN(Request request, RequestOf(row));
    places[request.id] = requests.size();
    requests.push_back(std::move(request));
  }
  if (requests.empty()) return requests;
  POSTERN_ASSIGN_OR_RETURN(
      std::vector<PortRow> ports,
      Ports(transaction,
            absl::StrCat("WHERE p.request_id IN (SELECT r.request_id FROM requests r ", where,
                         ") ORDER BY p.request_id, p.position LIMIT ", kMostPortsAtOnce),
            values));
  for (PortRow& port : ports) {
    const auto place = places.find(port.request_id);
    if (place != places.end()) requests[place->second].ports.push_back(std::move(port.port));
  }
  return requests;
}

absl::StatusOr<std::optional<Request>> OneRequest(SqlTransaction& transaction,
                                                  const std::string& where,
                                                  const std::vector<SqlValue>& values) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<Request> requests, Requests(transaction, where, values));
  if (requests.empty()) return std::nullopt;
  return std::move(requests[0]);
}

absl::Status InsertPort(SqlTransaction& transaction, const Request& request, size_t position) {
  const RequestedPort& port = request.ports[position];
  return transaction
      .Execute(
          "INSERT INTO request_ports (grant_id, request_id, position, vm_key, vm, requestor, "
          "justification, port, protocol, sources, duration_us, end_us, on_expiry, status, "
          "reason, detail, withdrawn_revision, end_told, packets, bytes) VALUES ($1, $2, $3, $4, "
          "$5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, '', 0, 0, 0, 0)",
          {port.grant_id, request.id, static_cast<int64_t>(position), port.vm.Key(),
           port.vm.ToString(), request.requestor, request.justification, int64_t{port.number},
           static_cast<int64_t>(port.protocol), SourcesText(port.sources),
           DurationValue(port.duration), TimeValue(port.end), static_cast<int64_t>(port.on_expiry),
           static_cast<int64_t>(port.status), static_cast<int64_t>(port.reason)})
      .status();
}

}  // namespace

absl::Status InsertRequest(SqlTransaction& transaction, const Request& request,
                           const ClientCall& call, const std::optional<absl::Time>& lapses) {
  POSTERN_RETURN_IF_ERROR(
      transaction
          .Execute(
              "INSERT INTO requests (request_id, policy_key, subscription, resource_group, "
              "group_key, location, policy_name, requestor, justification, start_us, "
              "client_request_id, approvals_needed, approver_role, approved_by, lapses_us, "
              "client_content) "
              "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
              {request.id, request.policy.Key(), request.policy.subscription,
               request.policy.resource_group, absl::AsciiStrToLower(request.policy.resource_group),
               request.policy.location, request.policy.name, request.requestor,
               request.justification, TimeValue(request.start), call.id,
               static_cast<int64_t>(request.approvals_needed), request.approver_role,
               NamesText(request.approved_by), TimeValue(lapses), call.content})
          .status());
  for (size_t position = 0; position < request.ports.size(); ++position) {
    POSTERN_RETURN_IF_ERROR(InsertPort(transaction, request, position));
  }
  return absl::OkStatus();
}

absl::Status UpdateApprovals(SqlTransaction& transaction, const Request& request,
                             const std::optional<absl::Time>& lapses) {
  return transaction
      .Execute("UPDATE requests SET approved_by = $2, lapses_us = $3 WHERE request_id = $1",
               {request.id, NamesText(request.approved_by), TimeValue(lapses)})
      .status();
}

absl::Status UpdatePort(SqlTransaction& transaction, const RequestedPort& port,
                        int64_t changed_revision) {
  SqlValue mapped;
  if (port.mapped_port) mapped = int64_t{*port.mapped_port};
  return transaction
      .Execute(
          "UPDATE request_ports SET sources = $2, duration_us = $3, end_us = $4, "
          "status = $5, reason = $6, detail = $7, mapped_port = $8, applied_us = $9, "
          "closed_us = $10, withdrawn_revision = $11, packets = $12, bytes = $13, "
          "first_used_us = $14, last_used_us = $15 WHERE grant_id = $1",
          {port.grant_id, SourcesText(port.sources), DurationValue(port.duration),
           TimeValue(port.end), static_cast<int64_t>(port.status),
           static_cast<int64_t>(port.reason), port.detail, mapped, TimeValue(port.applied),
           TimeValue(port.closed), changed_revision, port.usage.packets, port.usage.bytes,
           TimeValue(port.usage.first_used), TimeValue(port.usage.last_used)})
      .status();
}

absl::Status UpdatePortRow(SqlTransaction& transaction, const PortRow& row) {
  POSTERN_RETURN_IF_ERROR(UpdatePort(transaction, row.port, row.changed_revision));
  return transaction
      .Execute("UPDATE request_ports SET end_told = $2 WHERE grant_id = $1",
               {row.port.grant_id, int64_t{row.port.end_told}})
      .status();
}

absl::StatusOr<std::optional<Request>> FindRequest(SqlTransaction& transaction,
                                                   const std::string& id) {
  return OneRequest(transaction, "WHERE r.request_id = $1", {id});
}

absl::StatusOr<std::optional<CalledRequest>> FindRequestByCall(
    SqlTransaction& transaction, const std::string& requestor,
    const std::string& client_request_id) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows,
                           transaction.Query("SELECT request_id, client_content FROM requests "
                                             "WHERE requestor = $1 AND client_request_id = $2",
                                             {requestor, client_request_id}));
  if (rows.empty()) return std::nullopt;
  POSTERN_ASSIGN_OR_RETURN(std::optional<Request> request,
                           FindRequest(transaction, rows[0].Text(0)));
  if (!request) return std::nullopt;
  return CalledRequest{.request = *std::move(request),
                       .call = {.id = client_request_id, .content = rows[0].Text(1)}};
}

absl::StatusOr<std::vector<Request>> RequestsOfPolicy(SqlTransaction& transaction,
                                                      const std::string& policy_key,
                                                      absl::Time since, size_t limit) {
  return Requests(transaction,
                  "WHERE r.policy_key = $1 AND r.start_us >= $2 "
                  "ORDER BY r.start_us DESC, r.request_id DESC LIMIT $3",
                  {policy_key, TimeValue(since), static_cast<int64_t>(limit)});
}

absl::StatusOr<std::vector<Request>> ListRequests(SqlTransaction& transaction,
                                                  const RequestFilter& filter, size_t limit) {
  // Only what is asked for stands in the statement: a condition that may as well ask
  // for nothing is looked up in no index. What is live is little of all that was, so
  // there the search begins with the ports, and no other index is to be had instead.
  const absl::string_view unindexed = filter.live_at ? " || ''" : "";
  std::vector<SqlValue> values = {TimeValue(filter.before_start), filter.before_id};
  std::string where = "WHERE (r.start_us, r.request_id) < ($1, $2)";
  const auto also = [&](absl::string_view column, const std::string& wanted) {
    if (wanted.empty()) return;
    values.emplace_back(wanted);
    absl::StrAppend(&where, " AND r.", column, unindexed, " = $", values.size());
  };
  also("subscription", absl::AsciiStrToLower(filter.where.subscription));
  also("group_key", absl::AsciiStrToLower(filter.where.resource_group));
  also("requestor", filter.requestor);
  if (filter.live_at) {
    values.emplace_back(TimeValue(*filter.live_at));
    // UNION ALL: each part looks in the index of its own.
    absl::StrAppend(
        &where,
        " AND r.request_id IN (SELECT q.request_id FROM request_ports q "
        "WHERE q.status ",
        kLive, " UNION ALL SELECT w.request_id FROM request_ports w WHERE w.status = ", kOver,
        " AND w.end_us > $", values.size(), " AND w.end_told = 0 AND w.applied_us IS NOT NULL)");
  }
  values.emplace_back(static_cast<int64_t>(limit));
  absl::StrAppend(&where, " ORDER BY r.start_us DESC, r.request_id DESC LIMIT $", values.size());
  return Requests(transaction, where, values);
}

absl::StatusOr<std::vector<PortRow>> LivePortsOfVm(SqlTransaction& transaction,
                                                   const std::string& vm_key) {
  return Ports(transaction, "WHERE p.vm_key = $1 AND p.status < $2 ORDER BY p.grant_id",
               {vm_key, kOver});
}

absl::StatusOr<std::vector<PortRow>> LivePortsOfPolicy(SqlTransaction& transaction,
                                                       const std::string& policy_key) {
  // From what is live, which is little of all that a policy has ever had.
  return Ports(transaction,
               absl::StrCat("WHERE p.status ", kLive,
                            " AND (SELECT r.policy_key FROM requests r "
                            "WHERE r.request_id = p.request_id) = $1 ORDER BY p.grant_id"),
               {policy_key});
}

absl::StatusOr<std::vector<PortRow>> WithdrawnPorts(SqlTransaction& transaction,
                                                    const std::string& vm_key, int64_t revision) {
  return Ports(transaction,
               "WHERE p.vm_key = $1 AND p.status = $2 AND p.withdrawn_revision > $3 "
               "ORDER BY p.grant_id",
               {vm_key, kOver, revision});
}

absl::StatusOr<std::optional<PortRow>> FindPort(SqlTransaction& transaction,
                                                const std::string& grant_id) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<PortRow> ports,
                           Ports(transaction, "WHERE p.grant_id = $1", {grant_id}));
  if (ports.empty()) return std::nullopt;
  return std::move(ports[0]);
}

absl::StatusOr<std::vector<DuePort>> DuePorts(SqlTransaction& transaction, absl::Time now,
                                              size_t limit) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query("SELECT grant_id, vm FROM request_ports "
                        "WHERE status IN ($1, $2) AND end_us <= $3 ORDER BY end_us LIMIT $4",
                        {static_cast<int64_t>(PortStatus::kInitiating),
                         static_cast<int64_t>(PortStatus::kInitiated), TimeValue(now),
                         static_cast<int64_t>(limit)}));
  std::vector<DuePort> due;
  for (const SqlRow& row : rows) due.push_back({.grant_id = row.Text(0), .vm = row.Text(1)});
  return due;
}

absl::StatusOr<std::vector<std::string>> LapsedRequests(SqlTransaction& transaction, absl::Time now,
                                                        size_t limit) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows,
                           transaction.Query("SELECT request_id FROM requests "
                                             "WHERE lapses_us <= $1 ORDER BY lapses_us LIMIT $2",
                                             {TimeValue(now), static_cast<int64_t>(limit)}));
  std::vector<std::string> ids;
  for (const SqlRow& row : rows) ids.push_back(row.Text(0));
  return ids;
}

absl::StatusOr<std::optional<absl::Time>> NextDue(SqlTransaction& transaction) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query("SELECT (SELECT MIN(end_us) FROM request_ports WHERE status = $1), "
                        "(SELECT MIN(end_us) FROM request_ports WHERE status = $2), "
                        "(SELECT MIN(lapses_us) FROM requests)",
                        {static_cast<int64_t>(PortStatus::kInitiating),
                         static_cast<int64_t>(PortStatus::kInitiated)}));
  std::optional<absl::Time> next;
  for (size_t column = 0; column < 3; ++column) {
    const std::optional<absl::Time> due = OptionalTimeOf(rows[0], column);
    if (due && (!next || *due < *next)) next = due;
  }
  return next;
}

absl::StatusOr<std::map<std::string, VmHistory>> HistoriesOfVms(
    SqlTransaction& transaction, const std::vector<std::string>& vm_keys, absl::Time since) {
  // One statement for many: what a database takes to answer at all is more than what
  // it takes to look up a VM. Of two lengths, so that they stay prepared.
  constexpr size_t kMost = 100;
  constexpr char kLast[] =
      " FROM request_ports p WHERE p.vm_key = v.vm_key AND p.applied_us IS NOT NULL "
      "ORDER BY p.applied_us DESC LIMIT 1)";
  std::map<std::string, VmHistory> histories;
  for (size_t first = 0; first < vm_keys.size(); first += kMost) {
    std::vector<SqlValue> values = {TimeValue(since)};
    std::vector<std::string> places;
    for (size_t i = 0; i < (vm_keys.size() == 1 ? 1 : kMost); ++i) {
      // The last one again where there are fewer.
      values.emplace_back(vm_keys[std::min(first + i, vm_keys.size() - 1)]);
      places.push_back(absl::StrCat("$", values.size()));
    }
    POSTERN_ASSIGN_OR_RETURN(
        const std::vector<SqlRow> rows,
        transaction.Query(
            absl::StrCat("SELECT v.vm_key, "
                         "(SELECT COUNT(*) FROM policy_vms y WHERE y.vm_key = v.vm_key), "
                         "(SELECT COUNT(DISTINCT p.request_id) FROM request_ports p "
                         "WHERE p.vm_key = v.vm_key AND p.applied_us >= $1), "
                         "(SELECT p.applied_us",
                         kLast, ", (SELECT p.requestor", kLast, " FROM vms v WHERE v.vm_key IN (",
                         absl::StrJoin(places, ", "), ")"),
            values));
    for (const SqlRow& row : rows) {
      histories[row.Text(0)] = {.in_policy = row.Int(1) > 0,
                                .requests = row.Int(2),
                                .last_access = OptionalTimeOf(row, 3),
                                .last_user = row.Text(4)};
    }
  }
  return histories;
}

}  // namespace postern::controller

#include "tests/bench/fleet/history.h"

#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "common/status.h"
#include "controller/domain/request.h"
#include "controller/store/columns.h"
#include "controller/store/postgres_database.h"
#include "controller/store/sqlite_database.h"

namespace postern::bench {
namespace {

using controller::SqlTransaction;
using controller::SqlValue;

// {vm}: the number of a request's VM, from {i}, the number of the request. Scattered,
// as people's requests are.
constexpr char kVmOfRequest[] = "(({i} * 7919) % {vms})";

constexpr char kRequests[] = R"(INSERT INTO requests (
  request_id, policy_key, subscription, resource_group, group_key, location, policy_name,
  requestor, justification, start_us, client_request_id, approvals_needed, approver_role,
  approved_by, lapses_us)
WITH RECURSIVE n(i) AS (
  SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {requests})
SELECT {id}, '{policy_key}' || ({vm} / {vms_of_policy}), '{subscription}', 'fleet', 'fleet', 'west',
  'p' || ({vm} / {vms_of_policy}), 'user:past-' || i % 500, 'deploy ' || i,
  CAST($1 AS BIGINT) - (i + 1) * CAST($2 AS BIGINT), 'past-' || i, 0, '', '[]', NULL
FROM n)";

constexpr char kPorts[] = R"(INSERT INTO request_ports (
  grant_id, request_id, position, vm_key, vm, requestor, justification, port, protocol, sources,
  duration_us, end_us, on_expiry, status, reason, detail, mapped_port, applied_us, closed_us,
  withdrawn_revision, end_told, packets, bytes, first_used_us, last_used_us)
SELECT {id}, request_id, 0,
  '{vm_key}' || substr(CAST(100000 + {vm} AS TEXT), 2),
  '{vm_id}' || substr(CAST(100000 + {vm} AS TEXT), 2),
  requestor, justification, 22, 0, CAST($1 AS TEXT), 3600000000, start_us + 3600000000, 0,
  CAST($2 AS BIGINT), CAST($3 AS BIGINT), '', NULL, start_us + 20000, start_us + 3600000000,
  0, 1, 1200, 400000, start_us + 2000000, start_us + 3000000000
FROM requests WHERE client_request_id LIKE 'past-%')";

std::string Filled(const char* sql, const char* number, bool postgres, size_t vms,
                   size_t requests) {
  const std::string vm = VmIdOf("vm-");
  std::string policy = PolicyPath(0);
  policy.pop_back();
  const std::string text = absl::StrReplaceAll(sql, {{"{vm}", kVmOfRequest}});
  return absl::StrReplaceAll(
      text, {{"{i}", number},
             {"{id}", postgres ? "CAST(gen_random_uuid() AS TEXT)" : "lower(hex(randomblob(18)))"},
             {"{policy_key}", absl::AsciiStrToLower(policy)},
             {"{subscription}", std::string(kGroupId).substr(15, 36)},
             {"{vm_key}", absl::AsciiStrToLower(vm)},
             {"{vm_id}", vm},
             {"{vms_of_policy}", absl::StrCat(kVmsOfPolicy)},
             {"{vms}", absl::StrCat(vms)},
             {"{requests}", absl::StrCat(requests)}});
}

}  // namespace

absl::Status FillHistory(const FleetOptions& fleet, size_t vms, size_t requests,
                         absl::Duration span) {
  const bool postgres = !fleet.postgres.empty();
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<controller::Database> database,
                           postgres ? controller::OpenPostgresDatabase(fleet.postgres)
                                    : controller::OpenSqliteDatabase(
                                          absl::StrCat(fleet.directory, "/state/controller.db")));
  // The latest is over as well.
  const int64_t newest = absl::ToUnixMicros(absl::Now() - absl::Hours(2));
  const int64_t apart = absl::ToInt64Microseconds(span) / static_cast<int64_t>(requests);
  controller::Sources source;
  POSTERN_ASSIGN_OR_RETURN(const Prefix prefix, Prefix::Parse("203.0.113.7/32"));
  source.prefixes = {prefix};
  return database->WriteAtLength([&](SqlTransaction& transaction) -> absl::Status {
    // The indexes of a million rows do not fit into SQLite's usual cache.
    if (!postgres) {
      POSTERN_RETURN_IF_ERROR(transaction.Execute("PRAGMA cache_size = -1000000", {}).status());
    }
    POSTERN_RETURN_IF_ERROR(transaction
                                .Execute(Filled(kRequests, "i", postgres, vms, requests),
                                         {SqlValue(newest), SqlValue(apart)})
                                .status());
    POSTERN_RETURN_IF_ERROR(
        transaction
            .Execute(Filled(kPorts, "CAST(substr(client_request_id, 6) AS BIGINT)", postgres, vms,
                            requests),
                     {SqlValue(controller::SourcesText(source)),
                      SqlValue(static_cast<int64_t>(controller::PortStatus::kRevoked)),
                      SqlValue(static_cast<int64_t>(controller::EndReason::kExpired))})
            .status());
    // What autovacuum would have done by the time that so many are there.
    if (postgres) return transaction.Execute("ANALYZE", {}).status();
    return absl::OkStatus();
  });
}

}  // namespace postern::bench

#include "controller/store/vms.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "common/status.h"
#include "controller/store/columns.h"

namespace postern::controller {
namespace {

constexpr char kColumns[] =
    "vm, location, enrolled_us, certificate_serial, certificate_expires_us, stream, attached_us, "
    "last_seen_us, agent_version, hostname, enforces, clock_skew_us, wanted_revision, "
    "applied_revision, previous_serial, controller, join_token";

absl::StatusOr<VmRow> VmRowOf(const SqlRow& row) {
  VmRow vm{.location = row.Text(1),
           .enrolled = TimeOf(row, 2),
           .join_token = row.Text(16),
           .certificate_serial = row.Text(3),
           .previous_serial = row.Text(14),
           .certificate_expires = TimeOf(row, 4),
           .stream = row.Text(5),
           .controller = row.Text(15),
           .attached = OptionalTimeOf(row, 6),
           .last_seen = OptionalTimeOf(row, 7),
           .agent_version = row.Text(8),
           .hostname = row.Text(9),
           .enforces = row.Int(10) != 0,
           .clock_skew = DurationOf(row, 11),
           .wanted_revision = row.Int(12),
           .applied_revision = row.Int(13)};
  POSTERN_ASSIGN_OR_RETURN(vm.id, VmId::Parse(row.Text(0)));
  return vm;
}

// The keys of VMs of this name, for LIKE; "" for "".
std::string KeyPattern(absl::string_view name) {
  if (name.empty()) return "";
  return absl::StrCat("%/", absl::StrReplaceAll(absl::AsciiStrToLower(name),
                                                {{"\\", "\\\\"}, {"%", "\\%"}, {"_", "\\_"}}));
}

}  // namespace

absl::StatusOr<std::optional<VmRow>> FindVmRow(SqlTransaction& transaction,
                                               const std::string& vm_key) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(absl::StrCat("SELECT ", kColumns, " FROM vms WHERE vm_key = $1"),
                        {vm_key}));
  if (rows.empty()) return std::nullopt;
  POSTERN_ASSIGN_OR_RETURN(VmRow vm, VmRowOf(rows[0]));
  return vm;
}

absl::Status PutVmRow(SqlTransaction& transaction, const VmRow& vm) {
  return transaction
      .Execute(
          "INSERT INTO vms (vm_key, vm, location, subscription, group_key, enrolled_us, "
          "certificate_serial, certificate_expires_us, stream, attached_us, last_seen_us, "
          "agent_version, hostname, enforces, clock_skew_us, wanted_revision, applied_revision, "
          "previous_serial, controller, join_token) "
          "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, "
          "$18, $19, $20) "
          "ON CONFLICT (vm_key) DO UPDATE SET location = $3, enrolled_us = $6, "
          "certificate_serial = $7, certificate_expires_us = $8, stream = $9, attached_us = $10, "
          "last_seen_us = $11, agent_version = $12, hostname = $13, enforces = $14, "
          "clock_skew_us = $15, wanted_revision = $16, applied_revision = $17, "
          "previous_serial = $18, controller = $19, join_token = $20",
          {vm.id.Key(),
           vm.id.ToString(),
           vm.location,
           vm.id.subscription,
           absl::AsciiStrToLower(vm.id.resource_group),
           TimeValue(vm.enrolled),
           vm.certificate_serial,
           TimeValue(vm.certificate_expires),
           vm.stream,
           TimeValue(vm.attached),
           TimeValue(vm.last_seen),
           vm.agent_version,
           vm.hostname,
           int64_t{vm.enforces},
           DurationValue(vm.clock_skew),
           vm.wanted_revision,
           vm.applied_revision,
           vm.previous_serial,
           vm.controller,
           vm.join_token})
      .status();
}

absl::Status DeleteVmRow(SqlTransaction& transaction, const std::string& vm_key) {
  return transaction.Execute("DELETE FROM vms WHERE vm_key = $1", {vm_key}).status();
}

absl::StatusOr<std::vector<VmRow>> ListVmRows(SqlTransaction& transaction, const Where& where,
                                              const std::string& after, size_t limit) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query(
          absl::StrCat("SELECT ", kColumns,
                       " FROM vms WHERE vm_key > $1 AND ($2 = '' OR subscription = $2) "
                       "AND ($3 = '' OR group_key = $3) "
                       "AND ($4 = '' OR vm_key LIKE $4 ESCAPE '\\') ORDER BY vm_key LIMIT $5"),
          {after, absl::AsciiStrToLower(where.subscription),
           absl::AsciiStrToLower(where.resource_group), KeyPattern(where.vm_name),
           static_cast<int64_t>(limit)}));
  std::vector<VmRow> vms;
  for (const SqlRow& row : rows) {
    POSTERN_ASSIGN_OR_RETURN(VmRow vm, VmRowOf(row));
    vms.push_back(std::move(vm));
  }
  return vms;
}

absl::StatusOr<std::map<std::string, int64_t>> WantedRevisions(SqlTransaction& transaction) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows,
                           transaction.Query("SELECT vm_key, wanted_revision FROM vms", {}));
  std::map<std::string, int64_t> revisions;
  for (const SqlRow& row : rows) revisions.emplace(row.Text(0), row.Int(1));
  return revisions;
}

absl::StatusOr<std::vector<std::string>> Subscriptions(SqlTransaction& transaction) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query("SELECT subscription FROM vms UNION SELECT subscription FROM policies "
                        "ORDER BY subscription",
                        {}));
  std::vector<std::string> subscriptions;
  for (const SqlRow& row : rows) subscriptions.push_back(row.Text(0));
  return subscriptions;
}

absl::StatusOr<bool> IsInPolicy(SqlTransaction& transaction, const std::string& vm_key) {
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query("SELECT 1 FROM policy_vms WHERE vm_key = $1 LIMIT 1", {vm_key}));
  return !rows.empty();
}

absl::StatusOr<int64_t> NextRevision(SqlTransaction& transaction, const std::string& vm_key) {
  POSTERN_RETURN_IF_ERROR(
      transaction
          .Execute("UPDATE vms SET wanted_revision = wanted_revision + 1 WHERE vm_key = $1",
                   {vm_key})
          .status());
  POSTERN_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      transaction.Query("SELECT wanted_revision FROM vms WHERE vm_key = $1", {vm_key}));
  return rows.empty() ? 0 : rows[0].Int(0);
}

}  // namespace postern::controller

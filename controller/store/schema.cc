#include "controller/store/schema.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern::controller {
namespace {

// Times are microseconds since 1970, durations microseconds, truth is 0 or 1.
// A column that ends in _key holds an id in lower case, as comparisons want it.
const std::vector<std::vector<const char*>>& Migrations() {
  static const auto& migrations = *new std::vector<std::vector<const char*>>{
      {
          R"(CREATE TABLE vms (
            vm_key TEXT PRIMARY KEY, vm TEXT NOT NULL, location TEXT NOT NULL,
            subscription TEXT NOT NULL, group_key TEXT NOT NULL,
            enrolled_us BIGINT NOT NULL, certificate_serial TEXT NOT NULL,
            certificate_expires_us BIGINT NOT NULL,
            stream TEXT NOT NULL, attached_us BIGINT, last_seen_us BIGINT,
            agent_version TEXT NOT NULL, hostname TEXT NOT NULL, enforces BIGINT NOT NULL,
            clock_skew_us BIGINT NOT NULL,
            wanted_revision BIGINT NOT NULL, applied_revision BIGINT NOT NULL))",
          R"(CREATE INDEX vms_by_group ON vms (subscription, group_key, vm_key))",
          R"(CREATE TABLE policies (
            policy_key TEXT PRIMARY KEY, subscription TEXT NOT NULL,
            resource_group TEXT NOT NULL, group_key TEXT NOT NULL,
            location TEXT NOT NULL, location_key TEXT NOT NULL, name TEXT NOT NULL,
            body TEXT NOT NULL, version BIGINT NOT NULL))",
          R"(CREATE INDEX policies_by_group ON policies (subscription, group_key, policy_key))",
          R"(CREATE TABLE policy_vms (
            policy_key TEXT NOT NULL REFERENCES policies ON DELETE CASCADE,
            vm_key TEXT NOT NULL, PRIMARY KEY (policy_key, vm_key)))",
          R"(CREATE INDEX policy_vms_by_vm ON policy_vms (vm_key))",
          R"(CREATE TABLE requests (
            request_id TEXT PRIMARY KEY, policy_key TEXT NOT NULL,
            subscription TEXT NOT NULL, resource_group TEXT NOT NULL,
            group_key TEXT NOT NULL, location TEXT NOT NULL, policy_name TEXT NOT NULL,
            requestor TEXT NOT NULL, justification TEXT NOT NULL, start_us BIGINT NOT NULL,
            client_request_id TEXT NOT NULL,
            approvals_needed BIGINT NOT NULL, approver_role TEXT NOT NULL,
            approved_by TEXT NOT NULL, lapses_us BIGINT))",
          R"(CREATE INDEX requests_by_policy ON requests (policy_key, start_us))",
          R"(CREATE INDEX requests_by_start ON requests (start_us, request_id))",
          R"(CREATE INDEX requests_by_call ON requests (requestor, client_request_id))",
          R"(CREATE INDEX requests_waiting ON requests (lapses_us))",
          R"(CREATE TABLE request_ports (
            grant_id TEXT PRIMARY KEY, request_id TEXT NOT NULL REFERENCES requests,
            position BIGINT NOT NULL, vm_key TEXT NOT NULL, vm TEXT NOT NULL,
            requestor TEXT NOT NULL, justification TEXT NOT NULL,
            port BIGINT NOT NULL, protocol BIGINT NOT NULL, sources TEXT NOT NULL,
            duration_us BIGINT NOT NULL, end_us BIGINT, on_expiry BIGINT NOT NULL,
            status BIGINT NOT NULL, reason BIGINT NOT NULL, detail TEXT NOT NULL,
            mapped_port BIGINT, applied_us BIGINT, closed_us BIGINT,
            withdrawn_revision BIGINT NOT NULL, end_told BIGINT NOT NULL,
            packets BIGINT NOT NULL, bytes BIGINT NOT NULL,
            first_used_us BIGINT, last_used_us BIGINT))",
          R"(CREATE INDEX request_ports_by_request ON request_ports (request_id, position))",
          R"(CREATE INDEX request_ports_by_vm ON request_ports (vm_key, status, withdrawn_revision))",
          R"(CREATE INDEX request_ports_by_end ON request_ports (status, end_us))",
          R"(CREATE INDEX request_ports_by_use ON request_ports (vm_key, applied_us))",
          R"(CREATE TABLE roles (
            principal TEXT NOT NULL, role TEXT NOT NULL, scope TEXT NOT NULL,
            scope_key TEXT NOT NULL, PRIMARY KEY (principal, role, scope_key)))",
          R"(CREATE TABLE tokens (
            id TEXT PRIMARY KEY, principal TEXT NOT NULL, secret_hash TEXT NOT NULL UNIQUE,
            created_us BIGINT NOT NULL, expires_us BIGINT NOT NULL, created_by TEXT NOT NULL,
            revoked BIGINT NOT NULL))",
          R"(CREATE TABLE join_tokens (
            id TEXT PRIMARY KEY, secret_hash TEXT NOT NULL UNIQUE, scope TEXT NOT NULL,
            location TEXT NOT NULL, uses_left BIGINT NOT NULL, created_us BIGINT NOT NULL,
            expires_us BIGINT NOT NULL, created_by TEXT NOT NULL, revoked BIGINT NOT NULL))",
          R"(CREATE TABLE audit (
            number BIGINT PRIMARY KEY, time_us BIGINT NOT NULL, operation TEXT NOT NULL,
            status TEXT NOT NULL, caller TEXT NOT NULL, target TEXT NOT NULL,
            target_key TEXT NOT NULL, correlation_id TEXT NOT NULL, detail TEXT NOT NULL,
            previous_hash TEXT NOT NULL, hash TEXT NOT NULL))",
          R"(CREATE INDEX audit_by_time ON audit (time_us))",
          // One row: where the chain of the audit ends, and where what is kept of
          // it begins.
          R"(CREATE TABLE audit_chain (
            id BIGINT PRIMARY KEY, first_number BIGINT NOT NULL, first_previous TEXT NOT NULL,
            last_number BIGINT NOT NULL, last_hash TEXT NOT NULL))",
          R"(INSERT INTO audit_chain VALUES (1, 1, '', 0, ''))",
      },
      {
          R"(ALTER TABLE vms ADD COLUMN previous_serial TEXT NOT NULL DEFAULT '')",
      },
      {
          // The lists of requests, newest first, of somebody or of a place.
          R"(CREATE INDEX requests_by_requestor ON requests (requestor, start_us, request_id))",
          R"(CREATE INDEX requests_by_group ON requests (group_key, start_us, request_id))",
          R"(CREATE INDEX requests_by_subscription
             ON requests (subscription, start_us, request_id))",
          // What a VM's history counts is in its index.
          R"(DROP INDEX request_ports_by_use)",
          R"(CREATE INDEX request_ports_by_use
             ON request_ports (vm_key, applied_us, request_id))",
      },
      {
          // A stream is as good as the controller that holds it.
          R"(ALTER TABLE vms ADD COLUMN controller TEXT NOT NULL DEFAULT '')",
          // The id of the join token that it joined with.
          R"(ALTER TABLE vms ADD COLUMN join_token TEXT NOT NULL DEFAULT '')",
          R"(CREATE TABLE controllers (id TEXT PRIMARY KEY, seen_us BIGINT NOT NULL))",
      },
      {
          // A digest of what was asked for; empty for what was asked for before.
          R"(ALTER TABLE requests ADD COLUMN client_content TEXT NOT NULL DEFAULT '')",
      },
  };
  return migrations;
}

absl::StatusOr<int64_t> VersionOf(SqlTransaction& transaction) {
  POSTERN_RETURN_IF_ERROR(
      transaction.Execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)", {})
          .status());
  POSTERN_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows,
                           transaction.Query("SELECT version FROM schema_version", {}));
  if (!rows.empty()) return rows[0].Int(0);
  POSTERN_RETURN_IF_ERROR(
      transaction.Execute("INSERT INTO schema_version VALUES (0)", {}).status());
  return 0;
}

}  // namespace

absl::Status Migrate(Database& database, int64_t target) {
  return database.WriteAtLength([target](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const int64_t present, VersionOf(transaction));
    if (present > kSchemaVersion) {
      return absl::FailedPreconditionError(
          absl::StrCat("the store has schema version ", present, "; this release knows up to ",
                       kSchemaVersion, ": run the newer postern-controller that made it"));
    }
    for (int64_t version = present; version < target; ++version) {
      for (const char* statement : Migrations()[static_cast<size_t>(version)]) {
        POSTERN_RETURN_IF_ERROR(
            Annotate(transaction.Execute(statement, {}).status(),
                     absl::StrCat("migrating the store to version ", version + 1)));
      }
    }
    return transaction
        .Execute("UPDATE schema_version SET version = $1", {SqlValue(std::max(present, target))})
        .status();
  });
}

}  // namespace postern::controller

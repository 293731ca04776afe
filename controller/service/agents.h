// What the parts of FleetService share.

#ifndef POSTERN_CONTROLLER_SERVICE_AGENTS_H_
#define POSTERN_CONTROLLER_SERVICE_AGENTS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "controller/domain/resource_id.h"
#include "controller/service/audit_detail.h"
#include "controller/store/database.h"
#include "controller/store/vms.h"

namespace postern::controller {

// PERMISSION_DENIED where the VM is not known any more.
absl::StatusOr<VmRow> KnownVm(SqlTransaction& transaction, const VmId& vm);

// Whether a certificate of this serial number still speaks for the VM, or
// PERMISSION_DENIED. The one that it replaced does no more.
absl::Status UseCertificate(const std::string& serial, VmRow& row);

// A row of the audit about what the agent of `vm` did.
absl::Status AppendOfAgent(SqlTransaction& transaction, absl::Time now, absl::string_view operation,
                           const VmId& vm, const AuditDetail& detail,
                           absl::string_view status = "Succeeded");

// As the audit has it: RFC 3339, UTC, to the millisecond.
std::string TimeText(absl::Time time);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_SERVICE_AGENTS_H_

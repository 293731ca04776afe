#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/pki/digest.h"
#include "common/status.h"
#include "common/uuid.h"
#include "controller/domain/error.h"
#include "controller/service/agents.h"
#include "controller/service/fleet_service.h"
#include "controller/store/audit.h"
#include "controller/store/principals.h"
#include "controller/store/vms.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxVmNameBytes = 64;
constexpr size_t kMaxTokenBytes = 512;
// Of refusals that go on record: so many at once and then so many each second, for
// each that is refused and in all. Strangers fill no store.
constexpr double kRefusalsPerSecond = 1.0 / 600;
constexpr double kRefusalsAtOnce = 10;
constexpr size_t kRefusedRemembered = 10'000;
constexpr double kAllRefusalsPerSecond = 1.0 / 10;
constexpr double kAllRefusalsAtOnce = 1'000;

absl::Status NoGoodToken() {
  // Which of these it is helps only who should not have it.
  return absl::UnauthenticatedError(
      "the join token is unknown, used up, revoked or over; whoever manages the VM makes another "
      "(posternctl vm join-token)");
}

absl::StatusOr<JoinToken> GoodToken(SqlTransaction& transaction, const std::string& hash,
                                    absl::Time now) {
  POSTERN_ASSIGN_OR_RETURN(std::optional<JoinToken> token, FindJoinToken(transaction, hash));
  if (token && !token->revoked && now < token->expires) return *std::move(token);
  return NoGoodToken();
}

absl::StatusOr<VmId> VmOf(const JoinToken& token, absl::string_view name) {
  // A token for one VM says which: what the host calls itself is its own affair.
  if (token.scope.vm.empty()) {
    POSTERN_RETURN_IF_ERROR(CheckName("virtual machine", name, kMaxVmNameBytes));
  }
  return VmId{.subscription = token.scope.subscription,
              .resource_group = token.scope.resource_group,
              .name = token.scope.vm.empty() ? std::string(name) : token.scope.vm};
}

}  // namespace

absl::StatusOr<VmRow> KnownVm(SqlTransaction& transaction, const VmId& vm) {
  POSTERN_ASSIGN_OR_RETURN(std::optional<VmRow> row, FindVmRow(transaction, vm.Key()));
  if (row) return *std::move(row);
  return absl::PermissionDeniedError(
      absl::StrCat(vm.ToString(), " is not known to this controller any more; enrol it again"));
}

absl::Status UseCertificate(const std::string& serial, VmRow& row) {
  if (!serial.empty() && serial == row.certificate_serial) {
    row.previous_serial.clear();
    return absl::OkStatus();
  }
  if (!serial.empty() && serial == row.previous_serial) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("this certificate of ", row.id.ToString(),
                                                  " was replaced by another; enrol the VM again"));
}

absl::Status AppendOfAgent(SqlTransaction& transaction, absl::Time now, absl::string_view operation,
                           const VmId& vm, const AuditDetail& detail, absl::string_view status) {
  return AppendAudit(transaction, {.time = now,
                                   .operation = std::string(operation),
                                   .status = std::string(status),
                                   .caller = absl::StrCat("agent:", vm.name),
                                   .target = vm.ToString(),
                                   .correlation_id = NewUuid(),
                                   .detail = DetailText(detail)});
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

FleetService::FleetService(Database& database, const Clock& clock)
    : database_(database),
      clock_(clock),
      id_(NewUuid()),
      refusals_(kRefusalsPerSecond, kRefusalsAtOnce, kRefusedRemembered),
      all_refusals_(kAllRefusalsPerSecond, kAllRefusalsAtOnce, 1) {}

absl::StatusOr<VmId> FleetService::Enroll(absl::string_view join_token, absl::string_view name,
                                          const std::string& address) {
  if (join_token.size() > kMaxTokenBytes) {
    return absl::InvalidArgumentError("the join token is too long to be one");
  }
  const std::string hash = Sha256Hex(join_token);
  VmId vm;
  // Who has no good token takes no lock that others wait for.
  absl::Status status = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const JoinToken token,
                             GoodToken(transaction, hash, clock_.Read().wall));
    POSTERN_ASSIGN_OR_RETURN(vm, VmOf(token, name));
    return absl::OkStatus();
  });
  if (status.ok()) {
    status = database_.Write([&](SqlTransaction& transaction) -> absl::Status {
      POSTERN_ASSIGN_OR_RETURN(JoinToken token, GoodToken(transaction, hash, clock_.Read().wall));
      return Join(transaction, vm, token, address);
    });
  }
  RecordRefusal(status, "Postern/virtualMachines/enroll", vm, address);
  POSTERN_RETURN_IF_ERROR(status);
  return vm;
}

absl::Status FleetService::Join(SqlTransaction& transaction, const VmId& vm, JoinToken& token,
                                const std::string& address) {
  const absl::Time now = clock_.Read().wall;
  POSTERN_ASSIGN_OR_RETURN(std::optional<VmRow> row, FindVmRow(transaction, vm.Key()));
  // The answer to the first time was lost, or could not be kept there.
  const bool again = row && row->join_token == token.id && !row->attached;
  if (!again) {
    if (token.uses_left <= 0) return NoGoodToken();
    if (row && token.scope.vm.empty()) {
      return absl::UnauthenticatedError(absl::StrCat(
          vm.ToString(), " has joined already; a token for it alone lets it in again"));
    }
    --token.uses_left;
    POSTERN_RETURN_IF_ERROR(PutJoinToken(transaction, token));
  }
  if (!row) row = VmRow{.id = vm, .location = token.location};
  row->enrolled = now;
  row->join_token = token.id;
  // Whoever has joined before does not speak for it any more.
  row->certificate_serial.clear();
  row->previous_serial.clear();
  row->stream.clear();
  row->controller.clear();
  row->attached.reset();
  POSTERN_RETURN_IF_ERROR(PutVmRow(transaction, *row));
  return AppendOfAgent(transaction, now, "Postern/virtualMachines/enroll", vm,
                       {{"join_token", token.id}, {"address", address}});
}

absl::Status FleetService::RecordCertificate(const VmId& vm, const std::string& serial,
                                             absl::Time expires, const std::string& renewed) {
  return database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(VmRow row, KnownVm(transaction, vm));
    row.certificate_serial = serial;
    row.previous_serial = renewed;
    row.certificate_expires = expires;
    POSTERN_RETURN_IF_ERROR(PutVmRow(transaction, row));
    return AppendOfAgent(transaction, clock_.Read().wall, "Postern/virtualMachines/certificate", vm,
                         {{"serial", serial}, {"expires", TimeText(expires)}});
  });
}

absl::Status FleetService::CheckCertificate(const VmId& vm, const std::string& serial) {
  const absl::Status written = database_.Write([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(VmRow row, KnownVm(transaction, vm));
    POSTERN_RETURN_IF_ERROR(UseCertificate(serial, row));
    return PutVmRow(transaction, row);
  });
  RecordRefusal(written, "Postern/virtualMachines/certificate", vm);
  return written;
}

void FleetService::RecordRefusal(const absl::Status& status, absl::string_view operation,
                                 const VmId& vm, const std::string& address) {
  if (!absl::IsUnauthenticated(status) && !absl::IsPermissionDenied(status) &&
      !absl::IsInvalidArgument(status)) {
    return;
  }
  const BootTime now = clock_.Read().boot;
  const std::string who = address.empty() ? vm.Key() : address;
  if (refusals_.Take(who, now) > absl::ZeroDuration() ||
      all_refusals_.Take("", now) > absl::ZeroDuration()) {
    return;
  }
  AuditRow row{.operation = std::string(operation),
               .status = "Denied",
               .caller = address.empty() ? absl::StrCat("agent:", vm.name)
                                         : absl::StrCat("address:", address),
               .target = vm.name.empty() ? "a virtual machine" : vm.ToString(),
               .correlation_id = NewUuid(),
               .detail = DetailText({{"reason", std::string(status.message())}})};
  database_
      .Write([&](SqlTransaction& transaction) {
        row.time = clock_.Read().wall;
        return AppendAudit(transaction, row);
      })
      // Whoever asked is refused all the same.
      .IgnoreError();
}

}  // namespace postern::controller

#include "agent/link/enrolment.h"

#include <chrono>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/link/channel.h"
#include "common/config/files.h"
#include "common/pki/openssl.h"
#include "common/pki/request.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr size_t kMaxTokenFileBytes = 1024;
constexpr size_t kMaxAuthorityBytes = size_t{1} << 20;
constexpr std::chrono::seconds kCallTime{30};

absl::Status Over(const LinkIdentity& identity, const absl::Status& why) {
  return absl::Status(why.code(), absl::StrCat("this VM's certificate ended at ",
                                               absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", identity.end,
                                                                absl::UTCTimeZone()),
                                               ", and it cannot enrol again: ", why.message()));
}

}  // namespace

absl::Status HowToEnrolAgain(const std::string& state_dir, const absl::Status& why) {
  return absl::PermissionDeniedError(
      absl::StrCat(why.message(), " (remove ", IdentityPath(state_dir),
                   ", put a new join token into controller.join_token_file, and restart the "
                   "agent)"));
}

absl::StatusOr<LinkIdentity> Enrolment::Identity(absl::Time now) {
  absl::StatusOr<LinkIdentity> kept = LoadIdentity(state_dir_);
  if (absl::IsNotFound(kept.status())) return Enrol();
  if (!kept.ok() || now < kept->end) return kept;
  absl::StatusOr<LinkIdentity> again = Enrol();
  if (!again.ok()) return Over(*kept, again.status());
  return again;
}

absl::StatusOr<LinkIdentity> Enrolment::Enrol() {
  if (controller_.join_token_file.empty()) {
    return absl::FailedPreconditionError(
        "this VM has not enrolled; put a join token into a file and name that in agent.yaml "
        "(controller.join_token_file)");
  }
  POSTERN_ASSIGN_OR_RETURN(const FileContent token,
                           ReadSmallFile(controller_.join_token_file, kMaxTokenFileBytes));
  POSTERN_ASSIGN_OR_RETURN(const FileContent ca, ReadSmallFile(controller_.ca, kMaxAuthorityBytes));
  // Without one, gRPC would trust whom the host trusts.
  POSTERN_RETURN_IF_ERROR(ReadCertificate(ca.bytes, controller_.ca).status());
  v1::EnrollRequest request;
  request.set_join_token(std::string(absl::StripAsciiWhitespace(token.bytes)));
  request.set_name(name_);
  const auto stub =
      v1::ControllerService::NewStub(ChannelTo(controller_.address, ca.bytes, nullptr));
  return Certified(
      [&](const std::string& csr, grpc::ClientContext& context, v1::Certificate& answer) {
        request.set_certificate_request(csr);
        return stub->Enroll(&context, request, &answer);
      });
}

absl::StatusOr<LinkIdentity> Enrolment::Renew(v1::ControllerService::Stub& controller) {
  return Certified(
      [&](const std::string& csr, grpc::ClientContext& context, v1::Certificate& answer) {
        v1::RenewRequest request;
        request.set_certificate_request(csr);
        return controller.Renew(&context, request, &answer);
      });
}

void Enrolment::Cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  if (call_ != nullptr) call_->TryCancel();
}

absl::StatusOr<LinkIdentity> Enrolment::Certified(const Call& call) {
  const std::lock_guard calling(calling_);
  POSTERN_ASSIGN_OR_RETURN(const CertificateRequest request, NewCertificateRequest());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTime);
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return absl::CancelledError("posternd stops");
    call_ = &context;
  }
  v1::Certificate answer;
  const absl::Status called = FromGrpc(call(request.request, context, answer));
  {
    const std::lock_guard lock(mutex_);
    call_ = nullptr;
  }
  POSTERN_RETURN_IF_ERROR(Annotate(called, "asking for this VM's certificate"));
  POSTERN_ASSIGN_OR_RETURN(LinkIdentity identity,
                           MakeIdentity(answer.certificate(), request.key, answer.authorities()));
  POSTERN_RETURN_IF_ERROR(SaveIdentity(state_dir_, identity));
  return identity;
}

}  // namespace postern

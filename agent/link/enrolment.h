// How this VM comes by its certificate: at first by a join token, later by the
// certificate that it has.

#ifndef POSTERN_AGENT_LINK_ENROLMENT_H_
#define POSTERN_AGENT_LINK_ENROLMENT_H_

#include <grpcpp/client_context.h>
#include <postern/v1/controller.grpc.pb.h>

#include <functional>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/config/config.h"
#include "agent/link/identity_files.h"

namespace postern {

// What to do where the controller does not know this VM any more, beside its answer.
absl::Status HowToEnrolAgain(const std::string& state_dir, const absl::Status& why);

// Any thread.
class Enrolment {
 public:
  // `name` is this VM's, for a join token that is not for one VM alone.
  Enrolment(const ControllerConfig& controller, std::string state_dir, std::string name)
      : controller_(controller), state_dir_(std::move(state_dir)), name_(std::move(name)) {}

  // The certificate that is kept; enrols where there is none, or it is over.
  absl::StatusOr<LinkIdentity> Identity(absl::Time now);
  // Another certificate, which is kept from now on.
  absl::StatusOr<LinkIdentity> Renew(v1::ControllerService::Stub& controller);
  // Ends the call that is under way; there is no other after it.
  void Cancel();

 private:
  using Call = std::function<grpc::Status(const std::string& request, grpc::ClientContext&,
                                          v1::Certificate&)>;

  absl::StatusOr<LinkIdentity> Enrol();
  absl::StatusOr<LinkIdentity> Certified(const Call& call);

  const ControllerConfig controller_;
  const std::string state_dir_;
  const std::string name_;
  // Held for the time of a call: each keeps what it is given.
  std::mutex calling_;
  std::mutex mutex_;
  bool cancelled_ = false;
  grpc::ClientContext* call_ = nullptr;
};

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_ENROLMENT_H_

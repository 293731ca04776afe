#include "tests/bench/fleet/agents.h"

#include <grpcpp/grpcpp.h>
#include <postern/v1/controller.grpc.pb.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/pki/request.h"
#include "common/status.h"

namespace postern::bench {
namespace {

constexpr size_t kEnrollers = 4;
constexpr absl::Duration kCallTime = absl::Seconds(30);
constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Minutes(2);

// As agent/link/link.cc has it.
std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address,
                                         const grpc::SslCredentialsOptions& tls) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments);
}

absl::StatusOr<AgentIdentity> Enroll(v1::ControllerService::Stub& stub,
                                     const std::string& join_token, const std::string& name) {
  POSTERN_ASSIGN_OR_RETURN(const CertificateRequest request, NewCertificateRequest());
  v1::EnrollRequest message;
  message.set_join_token(join_token);
  message.set_certificate_request(request.request);
  message.set_name(name);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoSeconds(kCallTime));
  v1::Certificate answer;
  const grpc::Status status = stub.Enroll(&context, message, &answer);
  if (!status.ok()) {
    return absl::UnavailableError(absl::StrCat("enrolling ", name, ": ", status.error_message()));
  }
  return AgentIdentity{.name = name,
                       .certificate = answer.certificate(),
                       .key = request.key,
                       .authorities = answer.authorities()};
}

v1::AgentMessage Hello(const std::string& name) {
  v1::AgentMessage message;
  v1::AgentHello& hello = *message.mutable_hello();
  hello.set_version("0.1.0");
  hello.set_hostname(name);
  hello.set_enforces(true);
  for (const uint32_t port : {22, 3389, 5985, 5986}) hello.add_guarded_ports(port);
  hello.mutable_max_duration()->set_seconds(3 * 3600);
  hello.mutable_clock()->set_seconds(absl::ToUnixSeconds(absl::Now()));
  return message;
}

v1::AgentMessage Applied(const v1::WantedState& wanted) {
  v1::AgentMessage message;
  v1::AppliedState& applied = *message.mutable_applied();
  applied.set_revision(wanted.revision());
  const int64_t now = absl::ToUnixSeconds(absl::Now());
  for (const v1::WantedGrant& grant : wanted.grants()) {
    v1::GrantReport& report = *applied.add_grants();
    report.set_id(grant.id());
    report.set_state(v1::ACTIVE);
    report.mutable_start_time()->set_seconds(now);
    *report.mutable_end_time() = grant.not_after();
  }
  for (const v1::Withdrawal& withdrawal : wanted.withdrawn()) {
    v1::GrantReport& report = *applied.add_grants();
    report.set_id(withdrawal.id());
    report.set_state(v1::REVOKED);
    report.set_reason(withdrawal.reason());
    report.mutable_end_time()->set_seconds(now);
  }
  return message;
}

}  // namespace

absl::StatusOr<std::vector<AgentIdentity>> EnrollAll(const std::string& address,
                                                     const std::string& ca,
                                                     const std::string& join_token,
                                                     const std::vector<std::string>& names) {
  std::vector<AgentIdentity> identities(names.size());
  std::vector<absl::Status> failures(kEnrollers);
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < kEnrollers; ++thread) {
    threads.emplace_back([&, thread] {
      grpc::SslCredentialsOptions tls;
      tls.pem_root_certs = ca;
      const auto stub = v1::ControllerService::NewStub(ChannelTo(address, tls));
      for (size_t i = next++; i < names.size(); i = next++) {
        absl::StatusOr<AgentIdentity> identity = Enroll(*stub, join_token, names[i]);
        if (!identity.ok()) {
          failures[thread] = identity.status();
          return;
        }
        identities[i] = *std::move(identity);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& failure : failures) POSTERN_RETURN_IF_ERROR(failure);
  return identities;
}

class Agents::Stream final : public grpc::ClientBidiReactor<v1::AgentMessage, v1::WantedState> {
 public:
  Stream(Agents& agents, size_t index, std::shared_ptr<grpc::Channel> channel,
         v1::AgentMessage hello)
      : agents_(agents),
        index_(index),
        channel_(std::move(channel)),
        stub_(v1::ControllerService::NewStub(channel_)),
        writing_(std::move(hello)) {}

  void Begin() {
    stub_->async()->Attach(&context_, this);
    StartWrite(&writing_);
    StartRead(&wanted_);
    StartCall();
  }

  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    v1::AgentMessage report = Applied(wanted_);
    {
      const std::lock_guard lock(mutex_);
      if (is_writing_) {
        // A later state says all that an earlier one did.
        waiting_ = std::move(report);
      } else {
        Write(std::move(report));
      }
    }
    StartRead(&wanted_);
  }

  void OnWriteDone(bool ok) override {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      is_writing_ = false;
      if (!ok) return;
      first = writing_.has_applied() && !std::exchange(synced_, true);
      if (waiting_) Write(*std::exchange(waiting_, std::nullopt));
    }
    if (first) agents_.OnSynced();
  }

  void OnDone(const grpc::Status& status) override {
    // It may be deleted from then on.
    agents_.OnDone(index_, synced_, absl::StrCat(status.error_code(), " ", status.error_message()));
  }

 private:
  // With mutex_ held.
  void Write(v1::AgentMessage message) {
    is_writing_ = true;
    writing_ = std::move(message);
    StartWrite(&writing_);
  }

  Agents& agents_;
  const size_t index_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::ControllerService::Stub> stub_;
  grpc::ClientContext context_;
  v1::WantedState wanted_;
  std::mutex mutex_;
  bool is_writing_ = true;
  v1::AgentMessage writing_;
  std::optional<v1::AgentMessage> waiting_;
  bool synced_ = false;
};

Agents::Agents(std::string address, std::vector<AgentIdentity> identities)
    : address_(std::move(address)) {
  for (AgentIdentity& identity : identities) {
    agents_.emplace_back().identity = std::move(identity);
  }
  dialler_ = std::thread([this] { DialAll(); });
}

Agents::~Agents() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  due_.clear();
  for (const Agent& agent : agents_) {
    if (agent.stream != nullptr) agent.stream->Cancel();
  }
  changed_.wait(lock, [this] { return streams_ == 0; });
  changed_.notify_all();
  lock.unlock();
  dialler_.join();
}

void Agents::Attach(size_t first, size_t end) {
  const std::lock_guard lock(mutex_);
  for (size_t i = first; i < end; ++i) due_.emplace(absl::Now(), i);
  changed_.notify_all();
}

size_t Agents::in_sync() const {
  const std::lock_guard lock(mutex_);
  return in_sync_;
}

absl::Status Agents::AwaitInSync(size_t count, absl::Duration patience) {
  const absl::Time end = absl::Now() + patience;
  while (in_sync() != count) {
    if (absl::Now() > end) {
      return absl::DeadlineExceededError(
          absl::StrCat(in_sync(), " of ", count, " agents are in sync; ", Losses()));
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
  return absl::OkStatus();
}

std::string Agents::Losses() const {
  const std::lock_guard lock(mutex_);
  return absl::StrCat(losses_, " streams were lost, the latest with: ", last_loss_);
}

void Agents::DialAll() {
  std::unique_lock lock(mutex_);
  while (!stopping_ || streams_ > 0) {
    if (!done_.empty()) {
      auto done = std::exchange(done_, {});
      lock.unlock();
      done.clear();
      lock.lock();
      continue;
    }
    if (due_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto next = due_.begin();
    const absl::Duration left = next->first - absl::Now();
    if (left > absl::ZeroDuration()) {
      changed_.wait_for(lock, absl::ToChronoNanoseconds(left));
      continue;
    }
    const size_t index = next->second;
    due_.erase(next);
    lock.unlock();
    Dial(index);
    lock.lock();
  }
}

void Agents::Dial(size_t index) {
  const AgentIdentity& identity = agents_[index].identity;
  auto stream =
      std::make_unique<Stream>(*this, index,
                               ChannelTo(address_, {.pem_root_certs = identity.authorities,
                                                    .pem_private_key = identity.key,
                                                    .pem_cert_chain = identity.certificate}),
                               Hello(identity.name));
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    agents_[index].stream = std::move(stream);
    ++streams_;
    // It may be done at once, which waits for this lock.
    agents_[index].stream->Begin();
  }
}

void Agents::OnSynced() {
  const std::lock_guard lock(mutex_);
  ++in_sync_;
}

void Agents::OnDone(size_t index, bool was_synced, const std::string& how) {
  static thread_local std::mt19937 random{std::random_device{}()};
  const std::lock_guard lock(mutex_);
  Agent& agent = agents_[index];
  done_.push_back(std::move(agent.stream));
  --streams_;
  if (was_synced) {
    --in_sync_;
    // As if it had stood for long.
    agent.pause = kFirstPause;
  }
  if (!stopping_) {
    ++losses_;
    last_loss_ = how;
    const absl::Duration pause =
        agent.pause * std::uniform_real_distribution<double>(0.5, 1.0)(random);
    due_.emplace(absl::Now() + pause, index);
    agent.pause = std::min(agent.pause * 2, kLongestPause);
  }
  changed_.notify_all();
}

}  // namespace postern::bench

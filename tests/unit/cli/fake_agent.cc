#include "tests/unit/cli/fake_agent.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "postern/v1/agent.grpc.pb.h"

namespace postern {
namespace {

class Fake final : public FakeAgent, public v1::AgentService::Service {
 public:
  explicit Fake(Answers& answers) : answers_(answers) {}
  ~Fake() override {
    // Ends silent watches.
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  bool Start(const std::string& address, const Tls* tls) {
    std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
    if (tls != nullptr) {
      grpc::SslServerCredentialsOptions options(
          GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
      options.pem_root_certs = tls->ca;
      options.pem_key_cert_pairs.push_back({tls->key, tls->cert});
      credentials = grpc::SslServerCredentials(options);
    }
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, credentials, &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    return server_ != nullptr;
  }

  Asked asked() const override {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  int port() const override { return port_; }

  grpc::Status CreateGrant(grpc::ServerContext* /*context*/, const v1::CreateGrantRequest* request,
                           v1::Grant* reply) override {
    {
      const std::lock_guard lock(mutex_);
      asked_.create = *request;
    }
    return Answer("CreateGrant", *request, answers_.grant, reply);
  }
  grpc::Status ExtendGrant(grpc::ServerContext* /*context*/, const v1::ExtendGrantRequest* request,
                           v1::Grant* reply) override {
    return Answer("ExtendGrant", *request, answers_.grant, reply);
  }
  grpc::Status MoveGrant(grpc::ServerContext* /*context*/, const v1::MoveGrantRequest* request,
                         v1::Grant* reply) override {
    return Answer("MoveGrant", *request, answers_.grant, reply);
  }
  grpc::Status RevokeGrant(grpc::ServerContext* /*context*/, const v1::RevokeGrantRequest* request,
                           v1::Grant* reply) override {
    const auto& unknown = answers_.unknown_ids;
    if (std::find(unknown.begin(), unknown.end(), request->id()) != unknown.end()) {
      return {grpc::StatusCode::NOT_FOUND, absl::StrCat("no grant ", request->id())};
    }
    v1::Grant revoked = answers_.grant;
    revoked.set_id(request->id());
    return Answer("RevokeGrant", *request, revoked, reply);
  }
  grpc::Status ListGrants(grpc::ServerContext* /*context*/, const v1::ListGrantsRequest* request,
                          v1::ListGrantsResponse* reply) override {
    v1::ListGrantsResponse page;
    page.set_next_page_token(Page(answers_.grants, request->page_token(), *page.mutable_grants()));
    return Answer("ListGrants", *request, page, reply);
  }
  grpc::Status CheckAccess(grpc::ServerContext* /*context*/, const v1::CheckAccessRequest* request,
                           v1::CheckAccessResponse* reply) override {
    return Answer("CheckAccess", *request, answers_.check, reply);
  }
  grpc::Status Diagnose(grpc::ServerContext* /*context*/, const v1::DiagnoseRequest* request,
                        v1::DiagnoseResponse* reply) override {
    return Answer("Diagnose", *request, answers_.diagnosis, reply);
  }
  grpc::Status ListDenied(grpc::ServerContext* /*context*/, const v1::ListDeniedRequest* request,
                          v1::ListDeniedResponse* reply) override {
    return Answer("ListDenied", *request, answers_.denied, reply);
  }
  grpc::Status GetStatus(grpc::ServerContext* /*context*/, const v1::GetStatusRequest* request,
                         v1::GetStatusResponse* reply) override {
    return Answer("GetStatus", *request, answers_.status, reply);
  }
  grpc::Status ListAuditEvents(grpc::ServerContext* /*context*/,
                               const v1::ListAuditEventsRequest* request,
                               v1::ListAuditEventsResponse* reply) override {
    v1::ListAuditEventsResponse page;
    page.set_next_page_token(Page(answers_.events, request->page_token(), *page.mutable_events()));
    return Answer("ListAuditEvents", *request, page, reply);
  }
  grpc::Status Lockdown(grpc::ServerContext* /*context*/, const v1::LockdownRequest* request,
                        v1::LockdownResponse* reply) override {
    return Answer("Lockdown", *request, answers_.lockdown, reply);
  }
  grpc::Status LiftLockdown(grpc::ServerContext* /*context*/,
                            const v1::LiftLockdownRequest* request,
                            v1::LiftLockdownResponse* reply) override {
    return Answer("LiftLockdown", *request, v1::LiftLockdownResponse(), reply);
  }
  grpc::Status Arm(grpc::ServerContext* /*context*/, const v1::ArmRequest* request,
                   v1::ArmResponse* reply) override {
    return Answer("Arm", *request, answers_.arm, reply);
  }
  grpc::Status Confirm(grpc::ServerContext* /*context*/, const v1::ConfirmRequest* request,
                       v1::ConfirmResponse* reply) override {
    return Answer("Confirm", *request, answers_.confirm, reply);
  }
  grpc::Status Disarm(grpc::ServerContext* /*context*/, const v1::DisarmRequest* request,
                      v1::DisarmResponse* reply) override {
    return Answer("Disarm", *request, v1::DisarmResponse(), reply);
  }
  grpc::Status WatchEvents(grpc::ServerContext* context, const v1::WatchEventsRequest* request,
                           grpc::ServerWriter<v1::AuditEvent>* writer) override {
    const Answers::Watch* watch = NextWatch(*request);
    if (watch != nullptr) {
      for (const v1::AuditEvent& event : watch->events) writer->Write(event);
      return {static_cast<grpc::StatusCode>(watch->end.code()), std::string(watch->end.message())};
    }
    writer->SendInitialMetadata();
    if (answers_.on_silence) answers_.on_silence();
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::CANCELLED;
  }

 private:
  const Answers::Watch* NextWatch(const v1::WatchEventsRequest& request) {
    const std::lock_guard lock(mutex_);
    asked_.calls.push_back(absl::StrCat("WatchEvents ", request.ShortDebugString()));
    return next_watch_ < answers_.watches.size() ? &answers_.watches[next_watch_++] : nullptr;
  }

  template <typename Request, typename Reply>
  grpc::Status Answer(const std::string& method, const Request& request, const Reply& answer,
                      Reply* reply) {
    if (answers_.before_answer) answers_.before_answer();
    const std::lock_guard lock(mutex_);
    asked_.calls.push_back(absl::StrCat(method, " ", request.ShortDebugString()));
    if (!answers_.failure.ok() && failed_ < answers_.failures) {
      ++failed_;
      return Failure();
    }
    *reply = answer;
    return grpc::Status::OK;
  }

  grpc::Status Failure() const {
    google::rpc::BadRequest bad;
    for (const auto& [field, description] : answers_.violations) {
      auto* violation = bad.add_field_violations();
      violation->set_field(field);
      violation->set_description(description);
    }
    google::rpc::Status details;
    details.set_code(static_cast<int>(answers_.failure.code()));
    if (!answers_.violations.empty()) details.add_details()->PackFrom(bad);
    return {static_cast<grpc::StatusCode>(answers_.failure.code()),
            std::string(answers_.failure.message()), details.SerializeAsString()};
  }

  // Fills the page that `token`, an index, begins; returns the next token.
  template <typename Item, typename Repeated>
  std::string Page(const std::vector<Item>& items, const std::string& token, Repeated& page) const {
    size_t i = token.empty() ? 0 : std::stoul(token);
    for (int n = 0; n < answers_.page_size && i < items.size(); ++n) *page.Add() = items[i++];
    return i < items.size() ? absl::StrCat(i) : "";
  }

  Answers& answers_;
  mutable std::mutex mutex_;
  Asked asked_;
  int failed_ = 0;
  size_t next_watch_ = 0;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

std::unique_ptr<FakeAgent> StartFakeAgent(const std::string& address, Answers& answers,
                                          const FakeAgent::Tls* tls) {
  auto fake = std::make_unique<Fake>(answers);
  if (!fake->Start(address, tls)) return nullptr;
  return fake;
}

}  // namespace postern

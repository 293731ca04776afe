// The fleet's server and clients that do as they please.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <postern/v1/controller.grpc.pb.h>

#include <memory>
#include <string>

#include "common/config/files.h"
#include "common/pki/request.h"
#include "controller/fleet/errors.h"
#include "tests/unit/controller/fleet/fixture.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;
using testing::Not;

// A client with a certificate of the controller's, or with none.
class Client {
 public:
  Client(const std::string& address, const grpc::SslCredentialsOptions& tls) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    stub_ = v1::ControllerService::NewStub(
        grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments));
  }
  ~Client() { context_.TryCancel(); }

  v1::ControllerService::Stub& stub() { return *stub_; }

  void Attach() {
    stream_ = stub_->Attach(&context_);
    v1::AgentMessage message;
    message.mutable_hello()->set_enforces(true);
    Say(message);
  }
  void Say(const v1::AgentMessage& message) { stream_->Write(message); }
  // False once the stream is over.
  bool Hears(v1::WantedState& state) { return stream_->Read(&state); }
  // Reads on to the stream's end.
  grpc::Status End() {
    v1::WantedState state;
    while (stream_->Read(&state)) {
    }
    return stream_->Finish();
  }

 private:
  std::unique_ptr<v1::ControllerService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::AgentMessage, v1::WantedState>> stream_;
};

class StreamsTest : public FleetTest {
 protected:
  grpc::SslCredentialsOptions Stranger() const {
    return {.pem_root_certs = issuer_->authorities(), .pem_private_key = "", .pem_cert_chain = ""};
  }

  // The VM joins, and this is its certificate.
  grpc::SslCredentialsOptions Joined(const std::string& vm) {
    EXPECT_TRUE(fleet_->Enroll(Token(vm), vm, "192.0.2.1").ok());
    const CertificateRequest request = *NewCertificateRequest();
    const absl::StatusOr<IssuedCertificate> issued =
        issuer_->Issue(Vm(vm), request.request, absl::Now());
    EXPECT_TRUE(issued.ok()) << issued.status();
    EXPECT_EQ(fleet_->RecordCertificate(Vm(vm), issued->serial, issued->expires, ""),
              absl::OkStatus());
    return {.pem_root_certs = issuer_->authorities(),
            .pem_private_key = request.key,
            .pem_cert_chain = issued->pem};
  }

  static v1::AgentMessage Says(const std::string& grant, v1::GrantState state) {
    v1::AgentMessage message;
    v1::GrantReport& report = *message.mutable_applied()->add_grants();
    report.set_id(grant);
    report.set_state(state);
    return message;
  }
};

TEST_F(StreamsTest, ASecondStreamOfAVmEndsTheFirst) {
  const grpc::SslCredentialsOptions tls = Joined("web-1");
  Client first(address(), tls);
  first.Attach();
  v1::WantedState state;
  ASSERT_TRUE(first.Hears(state));
  Client second(address(), tls);
  second.Attach();
  ASSERT_TRUE(second.Hears(state));
  EXPECT_EQ(first.End().error_code(), grpc::ABORTED);
  EXPECT_EQ(server_->attached(), 1u);
  EXPECT_TRUE(access_->GetVm(owner_, Vm("web-1"))->attached);
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  ASSERT_TRUE(second.Hears(state));
  EXPECT_EQ(state.grants(0).id(), request.ports[0].grant_id);
}

TEST_F(StreamsTest, AnAgentThatSpeaksForAnotherVmIsSentAway) {
  Client honest(address(), Joined("web-1"));
  honest.Attach();
  PutPolicy();
  const Request request = Ask("203.0.113.7", absl::Hours(1));
  Client liar(address(), Joined("web-2"));
  liar.Attach();
  liar.Say(Says(request.ports[0].grant_id, v1::ACTIVE));
  EXPECT_EQ(liar.End().error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(PortOf(request).status, PortStatus::kInitiating);
  honest.Say(Says(request.ports[0].grant_id, v1::ACTIVE));
  EXPECT_TRUE(Becomes(request, PortStatus::kInitiated));
}

TEST_F(StreamsTest, WithoutTheVmsCertificateThereIsEnrolAlone) {
  Client stranger(address(), Stranger());
  stranger.Attach();
  EXPECT_EQ(stranger.End().error_code(), grpc::UNAUTHENTICATED);
  grpc::ClientContext renewing;
  v1::RenewRequest renew;
  renew.set_certificate_request(NewCertificateRequest()->request);
  v1::Certificate certificate;
  EXPECT_EQ(stranger.stub().Renew(&renewing, renew, &certificate).error_code(),
            grpc::UNAUTHENTICATED);
  // One of the authority's that is not for clients.
  grpc::SslCredentialsOptions server = Stranger();
  server.pem_cert_chain = ReadSmallFile(issuer_->server_files().cert, 1 << 20)->bytes;
  server.pem_private_key = ReadSmallFile(issuer_->server_files().key, 1 << 20)->bytes;
  Client no_vm(address(), server);
  no_vm.Attach();
  EXPECT_EQ(no_vm.End().error_code(), grpc::UNAVAILABLE);

  grpc::ClientContext enrolling;
  v1::EnrollRequest enroll;
  enroll.set_join_token(Token("web-1"));
  enroll.set_certificate_request(NewCertificateRequest()->request);
  EXPECT_TRUE(stranger.stub().Enroll(&enrolling, enroll, &certificate).ok());
  EXPECT_EQ(certificate.vm(), Vm("web-1").ToString());
}

TEST_F(StreamsTest, ACertificateFromBeforeTheVmJoinedAgainIsRefused) {
  Client before(address(), Joined("web-1"));
  before.Attach();
  v1::WantedState state;
  ASSERT_TRUE(before.Hears(state));
  Client after(address(), Joined("web-1"));
  grpc::ClientContext renewing;
  v1::RenewRequest renew;
  renew.set_certificate_request(NewCertificateRequest()->request);
  v1::Certificate certificate;
  EXPECT_EQ(before.stub().Renew(&renewing, renew, &certificate).error_code(),
            grpc::PERMISSION_DENIED);
  after.Attach();
  EXPECT_TRUE(after.Hears(state));
}

// The answer to a renewal may be lost.
TEST_F(StreamsTest, ARenewedCertificateIsGoodUntilTheNewOneIsUsed) {
  const grpc::SslCredentialsOptions old_one = Joined("web-1");
  Client renewing(address(), old_one);
  v1::RenewRequest renew;
  const CertificateRequest request = *NewCertificateRequest();
  renew.set_certificate_request(request.request);
  v1::Certificate certificate;
  for (int i = 0; i < 2; ++i) {
    grpc::ClientContext context;
    ASSERT_TRUE(renewing.stub().Renew(&context, renew, &certificate).ok());
  }
  v1::WantedState state;
  Client new_one(address(), {.pem_root_certs = old_one.pem_root_certs,
                             .pem_private_key = request.key,
                             .pem_cert_chain = certificate.certificate()});
  new_one.Attach();
  ASSERT_TRUE(new_one.Hears(state));
  Client late(address(), old_one);
  late.Attach();
  EXPECT_EQ(late.End().error_code(), grpc::PERMISSION_DENIED);
}

// A token is for one use; a request that nobody can sign does not waste it.
TEST_F(StreamsTest, ATokenIsUsedByWhatCanBeSignedAlone) {
  Client stranger(address(), Stranger());
  v1::EnrollRequest enroll;
  enroll.set_join_token(Token("web-1"));
  enroll.set_certificate_request("no request");
  v1::Certificate certificate;
  const auto code = [&] {
    grpc::ClientContext context;
    return stranger.stub().Enroll(&context, enroll, &certificate).error_code();
  };
  EXPECT_EQ(code(), grpc::INVALID_ARGUMENT);
  enroll.set_certificate_request(NewCertificateRequest()->request);
  EXPECT_EQ(code(), grpc::OK);
  // The answer may be lost on its way.
  EXPECT_EQ(code(), grpc::OK);
}

TEST_F(StreamsTest, AStreamThatIsCutOffAtItsHelloIsForgotten) {
  const grpc::SslCredentialsOptions tls = Joined("web-1");
  for (int i = 0; i < 50; ++i) {
    Client client(address(), tls);
    client.Attach();
  }
  EXPECT_TRUE(Eventually([&] { return !access_->GetVm(owner_, Vm("web-1"))->attached; }));
  EXPECT_TRUE(Eventually([&] { return server_->attached() == 0; }));
}

TEST_F(StreamsTest, StrangersAskOnlySoOften) {
  Client stranger(address(), Stranger());
  v1::EnrollRequest enroll;
  enroll.set_certificate_request("no request");
  v1::Certificate certificate;
  grpc::StatusCode code = grpc::INVALID_ARGUMENT;
  for (int i = 0; i < 10'000 && code == grpc::INVALID_ARGUMENT; ++i) {
    grpc::ClientContext context;
    code = stranger.stub().Enroll(&context, enroll, &certificate).error_code();
  }
  EXPECT_EQ(code, grpc::RESOURCE_EXHAUSTED);
}

TEST(ErrorsForCallers, WhatTheStoreSaysIsForTheJournal) {
  std::vector<std::string> journal;
  const auto report = [&](const std::string& problem) { journal.push_back(problem); };
  for (const absl::Status& status :
       {absl::UnavailableError("host db.example.org: refused"), absl::InternalError("row 7"),
        absl::ResourceExhaustedError("/var/lib is full")}) {
    const absl::Status told = ForCallers(status, report);
    EXPECT_FALSE(told.ok());
    EXPECT_EQ(journal.back(), status.message());
    EXPECT_THAT(std::string(told.message()), Not(HasSubstr(journal.back())));
  }
  EXPECT_EQ(ForCallers(absl::PermissionDeniedError("enrol it again"), report),
            absl::PermissionDeniedError("enrol it again"));
  EXPECT_EQ(journal.size(), 3u);
}

TEST_F(StreamsTest, MessagesThatAreNotOfAnAgentEndTheStream) {
  const grpc::SslCredentialsOptions tls = Joined("web-1");
  {
    Client twice(address(), tls);
    twice.Attach();
    v1::AgentMessage hello;
    hello.mutable_hello();
    twice.Say(hello);
    EXPECT_EQ(twice.End().error_code(), grpc::INVALID_ARGUMENT);
  }
  {
    Client nothing(address(), tls);
    nothing.Attach();
    nothing.Say(v1::AgentMessage());
    EXPECT_EQ(nothing.End().error_code(), grpc::INVALID_ARGUMENT);
  }
  {
    Client much(address(), tls);
    much.Attach();
    v1::AgentMessage message;
    for (int i = 0; i <= 10'000; ++i) message.mutable_applied()->add_grants();
    much.Say(message);
    const grpc::Status end = much.End();
    EXPECT_EQ(end.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_THAT(end.error_message(), HasSubstr("10001"));
  }
  {
    Client large(address(), tls);
    large.Attach();
    large.Say(Says(std::string(5 << 20, 'x'), v1::ACTIVE));
    EXPECT_EQ(large.End().error_code(), grpc::RESOURCE_EXHAUSTED);
  }
}

// Another controller on the same store has made the change, and its hint was lost.
TEST_F(StreamsTest, ALookAtAllFindsWhatNobodyToldOf) {
  AccessService elsewhere(store_->database(), clock_, [](const auto&) {});
  Client agent(address(), Joined("web-1"));
  agent.Attach();
  v1::WantedState state;
  ASSERT_TRUE(agent.Hears(state));
  PutPolicy();
  const AskedPort port = {.number = 22,
                          .duration = absl::Hours(1),
                          .sources = Sources{.prefixes = {*Prefix::Parse("203.0.113.7")}}};
  ASSERT_TRUE(
      elsewhere.Initiate(owner_, policy_, {.vms = {{.id = Vm("web-1"), .ports = {port}}}}).ok());
  server_->CheckAll();
  ASSERT_TRUE(agent.Hears(state));
  EXPECT_EQ(state.grants_size(), 1);
  // Nothing new is not told again: what comes next is the next change.
  server_->CheckAll();
  const uint64_t before = state.revision();
  Ask("203.0.113.8", absl::Hours(1), 3389);
  ASSERT_TRUE(agent.Hears(state));
  EXPECT_GT(state.revision(), before);
}

TEST_F(StreamsTest, ALookAtAllEndsTheStreamOfAVmThatIsGone) {
  AccessService elsewhere(store_->database(), clock_, [](const auto&) {});
  Client agent(address(), Joined("web-1"));
  agent.Attach();
  v1::WantedState state;
  ASSERT_TRUE(agent.Hears(state));
  ASSERT_EQ(elsewhere.RemoveVm(owner_, Vm("web-1"), /*force=*/false), absl::OkStatus());
  server_->CheckAll();
  EXPECT_EQ(agent.End().error_code(), grpc::PERMISSION_DENIED);
}

}  // namespace
}  // namespace postern::controller

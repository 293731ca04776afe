// The agent's interface as clients meet it.

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/unit/rpc/test_agent.h"

namespace postern {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// The fields that a BadRequest in the status names.
std::vector<std::string> FieldsOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::BadRequest bad_request;
  std::vector<std::string> fields;
  if (!details.ParseFromString(status.error_details()) || details.details().empty() ||
      !details.details(0).UnpackTo(&bad_request)) {
    return fields;
  }
  for (const auto& violation : bad_request.field_violations()) {
    fields.push_back(violation.field());
  }
  return fields;
}

// One message to `method` as it is, and one back.
grpc::Status RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                     const std::string& request, std::string* reply = nullptr) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  const std::unique_ptr<grpc::ClientContext> context = NewContext();
  const grpc::Slice slice(request);
  const grpc::ByteBuffer bytes(&slice, 1);
  const auto call = stub.PrepareUnaryCall(context.get(), method, bytes, &queue);
  call->StartCall();
  grpc::ByteBuffer received;
  grpc::Status status;
  call->Finish(&received, &status, &queue);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice whole;
  if (reply != nullptr && status.ok() && received.DumpToSingleSlice(&whole).ok()) {
    reply->assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
  }
  return status;
}

class ServerTest : public testing::Test {
 protected:
  TestAgent agent_;
};

TEST_F(ServerTest, TheStatusTellsOfTheController) {
  const auto stub = agent_.LocalStub();
  v1::GetStatusResponse status;
  ASSERT_TRUE(GetStatus(*stub, &status).ok());
  EXPECT_FALSE(status.has_controller());
  agent_.server->Tell({.version = "1.2.3",
                       .warnings = {},
                       .controller = ControllerFacts{.address = "ctl:7444",
                                                     .attached = false,
                                                     .since = absl::FromUnixSeconds(1000),
                                                     .problem = "no route",
                                                     .revision = 7}});
  ASSERT_TRUE(GetStatus(*stub, &status).ok());
  const v1::ControllerState& told = status.controller();
  EXPECT_EQ(told.address(), "ctl:7444");
  EXPECT_FALSE(told.attached());
  EXPECT_EQ(told.since().seconds(), 1000);
  EXPECT_EQ(told.problem(), "no route");
  EXPECT_EQ(told.revision(), 7u);
}

// ---- Grants

TEST_F(ServerTest, AGrantMadeOnTheLocalSocketOpensTheGate) {
  const auto stub = agent_.LocalStub();
  const v1::CreateGrantRequest request = NewGrant();
  const Answer answer = Create(*stub, request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.grant.id(), request.id());
  EXPECT_EQ(answer.grant.state(), v1::ACTIVE);
  EXPECT_EQ(answer.grant.created_by(), "local");
  agent_.OnLoop([&](Gatekeeper&) {
    EXPECT_TRUE(agent_.firewall.Admits(*Address::Parse("203.0.113.7"), Protocol::kTcp, 22));
  });
  EXPECT_EQ(Create(*stub, request).grant.SerializeAsString(), answer.grant.SerializeAsString());
}

TEST_F(ServerTest, AGrantGoesThroughItsLife) {
  const auto stub = agent_.RemoteStub(absl::StrCat("URI:", kControllerSan));
  const Answer created = Create(*stub, NewGrant());
  ASSERT_TRUE(created.status.ok()) << created.status.error_message();
  EXPECT_EQ(created.grant.created_by(), kControllerSan);

  v1::Grant grant;
  v1::ExtendGrantRequest extend;
  extend.set_id(created.grant.id());
  extend.mutable_duration()->set_seconds(600);
  ASSERT_TRUE(stub->ExtendGrant(NewContext().get(), extend, &grant).ok());
  EXPECT_EQ(grant.end_time().seconds(), created.grant.end_time().seconds() + 600);

  v1::MoveGrantRequest move;
  move.set_id(created.grant.id());
  ASSERT_TRUE(stub->MoveGrant(NewContext().get(), move, &grant).ok());
  EXPECT_THAT(grant.source_prefixes(), ElementsAre("127.0.0.1/32"));

  v1::RevokeGrantRequest revoke;
  revoke.set_id(created.grant.id());
  revoke.set_reason("done");
  ASSERT_TRUE(stub->RevokeGrant(NewContext().get(), revoke, &grant).ok());
  EXPECT_EQ(grant.state(), v1::REVOKED);
  EXPECT_EQ(grant.end_cause(), absl::StrCat("revoked by ", kControllerSan, ": done"));

  v1::GetGrantRequest get;
  get.set_id(created.grant.id());
  v1::Grant read;
  ASSERT_TRUE(stub->GetGrant(NewContext().get(), get, &read).ok());
  EXPECT_EQ(read.SerializeAsString(), grant.SerializeAsString());
}

TEST_F(ServerTest, WithoutSourcesTheCallersAddressIsGranted) {
  const auto stub = agent_.RemoteStub(absl::StrCat("DNS:", kOperatorSan));
  v1::CreateGrantRequest request = NewGrant();
  request.clear_source_prefixes();
  const Answer answer = Create(*stub, request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_THAT(answer.grant.source_prefixes(), ElementsAre("127.0.0.1/32"));
  // Another connection, so another port: the same request.
  const Answer repeat = Create(*agent_.RemoteStub(absl::StrCat("DNS:", kOperatorSan)), request);
  EXPECT_TRUE(repeat.status.ok()) << repeat.status.error_message();

  const grpc::Status local = Create(*agent_.LocalStub(), request).status;
  EXPECT_EQ(local.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(local), ElementsAre("source_prefixes"));
}

TEST_F(ServerTest, CheckAccessAnswersForAllProtocolsThatAreAsked) {
  const auto stub = agent_.LocalStub();
  ASSERT_TRUE(Create(*stub, NewGrant()).status.ok());
  v1::CheckAccessRequest request;
  request.set_source_address("203.0.113.7");
  request.mutable_port()->set_number(22);
  request.mutable_port()->set_protocol(v1::TCP);
  v1::CheckAccessResponse response;
  ASSERT_TRUE(stub->CheckAccess(NewContext().get(), request, &response).ok());
  EXPECT_TRUE(response.allowed());
  request.mutable_port()->set_protocol(v1::ANY);
  ASSERT_TRUE(stub->CheckAccess(NewContext().get(), request, &response).ok());
  EXPECT_FALSE(response.allowed());
  EXPECT_THAT(response.reason(), HasSubstr("22/udp"));
}

TEST_F(ServerTest, StatusTellsWhatTheAgentKnows) {
  agent_.MakeGrants(2, "");
  v1::GetStatusResponse response;
  ASSERT_TRUE(GetStatus(*agent_.RemoteStub(absl::StrCat("URI:", kViewerSan)), &response).ok());
  EXPECT_EQ(response.version(), "1.2.3");
  EXPECT_EQ(response.mode(), "enforce");
  EXPECT_THAT(response.guarded_ports(), ElementsAre(22, 3389, 5985, 5986));
  EXPECT_EQ(response.live_grants(), 2U);
  EXPECT_EQ(response.max_duration().seconds(), 3 * 3600);
  EXPECT_EQ(response.caller_address(), "127.0.0.1");
  EXPECT_THAT(response.warnings(), Contains("a warning"));
  ASSERT_TRUE(GetStatus(*agent_.LocalStub(), &response).ok());
  EXPECT_EQ(response.caller_address(), "");
}

TEST_F(ServerTest, AViewerCanHaveTheHostDiagnosed) {
  v1::DiagnoseResponse response;
  const auto stub = agent_.RemoteStub(absl::StrCat("URI:", kViewerSan));
  ASSERT_TRUE(stub->Diagnose(NewContext().get(), {}, &response).ok());
  // The gate of this test is in no kernel; without privileges nobody can see that.
  ASSERT_GT(response.findings_size(), 0);
  EXPECT_THAT(response.findings(0).name(), AnyOf("gate-missing", "not-examined"));
  EXPECT_GE(response.findings(0).severity(), v1::WARNING);
  EXPECT_NE(response.findings(0).remedy(), "");
}

TEST_F(ServerTest, AViewerCanAskWhoWasDenied) {
  agent_.Knock("203.0.113.7", absl::Minutes(5));
  agent_.Knock("203.0.113.8", absl::Minutes(4));
  const auto stub = agent_.RemoteStub(absl::StrCat("URI:", kViewerSan));
  v1::ListDeniedRequest request;
  request.set_max_sources(1);
  v1::ListDeniedResponse response;
  ASSERT_TRUE(stub->ListDenied(NewContext().get(), request, &response).ok());
  EXPECT_EQ(response.total(), 2U);
  EXPECT_FALSE(response.let_through());
  EXPECT_EQ(response.remembered_for().seconds(), 3600);
  ASSERT_EQ(response.sources_size(), 1);
  EXPECT_EQ(response.sources(0).source_address(), "203.0.113.8");
  EXPECT_EQ(response.sources(0).port().number(), 22U);
  EXPECT_EQ(response.sources(0).port().protocol(), v1::TCP);
  EXPECT_EQ(response.sources(0).packets(), 3U);
  EXPECT_EQ(response.now().seconds() - response.sources(0).last_seen().seconds(), 240);

  request.set_max_sources(1001);
  EXPECT_EQ(stub->ListDenied(NewContext().get(), request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServerTest, TheDoctorKnowsWhetherTheGateIsArmed) {
  // The settings say enforce all the while.
  agent_.OnLoop([this](Gatekeeper& gatekeeper) {
    GatekeeperOptions observe{.gate = {}, .limits = agent_.config.limits};
    observe.gate.ports = agent_.config.limits.guarded_ports;
    observe.gate.enforce = false;
    EXPECT_EQ(gatekeeper.Reconfigure(observe, "test"), absl::OkStatus());
  });
  const auto observes = [this] {
    v1::DiagnoseResponse response;
    EXPECT_TRUE(agent_.LocalStub()->Diagnose(NewContext().get(), {}, &response).ok());
    return std::any_of(response.findings().begin(), response.findings().end(),
                       [](const v1::Finding& f) { return f.name() == "observe-mode"; });
  };
  EXPECT_TRUE(observes());
  v1::ArmRequest request;
  request.mutable_confirm_within()->set_seconds(600);
  v1::ArmResponse response;
  ASSERT_TRUE(agent_.LocalStub()->Arm(NewContext().get(), request, &response).ok());
  EXPECT_FALSE(observes());
}

// ---- Refusals

TEST_F(ServerTest, AllThatIsWrongIsToldAtOnce) {
  v1::CreateGrantRequest request = NewGrant();
  request.set_id("42");
  request.add_source_prefixes("203.0.113.7/24");
  request.mutable_ports(0)->set_number(65'536);
  request.clear_duration();
  const size_t before = agent_.EventCount();
  const grpc::Status status = Create(*agent_.LocalStub(), request).status;
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(status),
              ElementsAre("id", "source_prefixes[1]", "ports[0].number", "duration"));
  EXPECT_EQ(agent_.EventCount(), before);
}

TEST_F(ServerTest, RefusalsOfTheDecisionKeepTheirCodes) {
  const auto stub = agent_.LocalStub();
  v1::CreateGrantRequest unguarded = NewGrant();
  unguarded.mutable_ports(0)->set_number(8022);
  EXPECT_EQ(Create(*stub, unguarded).status.error_code(), grpc::FAILED_PRECONDITION);

  v1::CreateGrantRequest past = NewGrant();
  past.mutable_not_after()->set_seconds(1);
  const grpc::Status status = Create(*stub, past).status;
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(status), ElementsAre("not_after"));

  v1::CreateGrantRequest taken = NewGrant();
  ASSERT_TRUE(Create(*stub, taken).status.ok());
  taken.set_justification("other");
  EXPECT_EQ(Create(*stub, taken).status.error_code(), grpc::ALREADY_EXISTS);

  v1::GetGrantRequest get;
  get.set_id(NewGrant().id());
  v1::Grant grant;
  EXPECT_EQ(stub->GetGrant(NewContext().get(), get, &grant).error_code(), grpc::NOT_FOUND);
}

TEST_F(ServerTest, ARefusalOfTheKernelIsUnavailableAndLeavesNothing) {
  agent_.OnLoop([&](Gatekeeper&) { agent_.firewall.RefuseSource(*Address::Parse("203.0.113.7")); });
  const auto stub = agent_.LocalStub();
  const v1::CreateGrantRequest request = NewGrant();
  EXPECT_EQ(Create(*stub, request).status.error_code(), grpc::UNAVAILABLE);
  v1::GetGrantRequest get;
  get.set_id(request.id());
  v1::Grant grant;
  EXPECT_EQ(stub->GetGrant(NewContext().get(), get, &grant).error_code(), grpc::NOT_FOUND);
}

TEST_F(ServerTest, AHugeRequestIsRefusedUnparsed) {
  const auto stub = agent_.RemoteStub(absl::StrCat("URI:", kControllerSan));
  v1::CreateGrantRequest request = NewGrant();
  request.set_justification(std::string(10'000'000, 'x'));
  const size_t before = agent_.EventCount();
  const grpc::Status status = Create(*stub, request).status;
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("at most 1048576"));
  request.set_justification(std::string(20'000'000, 'x'));
  EXPECT_EQ(Create(*stub, request).status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_EQ(agent_.EventCount(), before);
}

TEST_F(ServerTest, WhatIsNoRequestIsAnInvalidArgument) {
  const auto channel = agent_.Local();
  const char kCreate[] = "/postern.v1.AgentService/CreateGrant";
  // Field 7, justification, of one byte that is not UTF-8; and a field cut short.
  for (const std::string& bytes : {std::string("\x3a\x01\xff"), std::string("\x3a\x05x")}) {
    const grpc::Status status = RawCall(channel, kCreate, bytes);
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("postern.v1.CreateGrantRequest"));
  }
  EXPECT_EQ(RawCall(channel, "/postern.v1.AgentService/OpenAll", "").error_code(),
            grpc::UNIMPLEMENTED);
}

// ---- Paging

TEST_F(ServerTest, GrantsComeInPages) {
  agent_.MakeGrants(5, "");
  const auto stub = agent_.LocalStub();
  v1::ListGrantsRequest request;
  request.set_page_size(2);
  std::vector<int> sizes;
  std::set<std::string> ids;
  do {
    v1::ListGrantsResponse response;
    ASSERT_TRUE(stub->ListGrants(NewContext().get(), request, &response).ok());
    sizes.push_back(response.grants_size());
    for (const v1::Grant& grant : response.grants()) ids.insert(grant.id());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(sizes, ElementsAre(2, 2, 1));
  EXPECT_EQ(ids.size(), 5U);

  request.set_page_size(-1);
  v1::ListGrantsResponse response;
  const grpc::Status status = stub->ListGrants(NewContext().get(), request, &response);
  EXPECT_THAT(FieldsOf(status), ElementsAre("page_size"));
}

TEST_F(ServerTest, APageStaysSmallEnoughForEveryClient) {
  agent_.MakeGrants(1000, std::string(4096, 'x'));
  const auto stub = agent_.LocalStub();
  v1::ListGrantsRequest grants;
  grants.set_page_size(1000);
  v1::ListAuditEventsRequest events;
  events.set_page_size(1000);
  int grant_count = 0;
  int event_count = 0;
  int pages = 0;
  do {
    v1::ListGrantsResponse response;
    ASSERT_TRUE(stub->ListGrants(NewContext().get(), grants, &response).ok());
    EXPECT_LT(response.ByteSizeLong(), 2U << 20);
    grant_count += response.grants_size();
    grants.set_page_token(response.next_page_token());
    ++pages;
  } while (!grants.page_token().empty());
  do {
    v1::ListAuditEventsResponse response;
    ASSERT_TRUE(stub->ListAuditEvents(NewContext().get(), events, &response).ok());
    EXPECT_LT(response.ByteSizeLong(), 2U << 20);
    event_count += response.events_size();
    events.set_page_token(response.next_page_token());
  } while (!events.page_token().empty());
  EXPECT_EQ(grant_count, 1000);
  // And the agent's start.
  EXPECT_EQ(event_count, 1001);
  EXPECT_GT(pages, 1);
}

TEST_F(ServerTest, AuditEventsCanBeAskedForSinceATime) {
  agent_.MakeGrants(1, "before");
  agent_.clock.Advance(absl::Hours(1));
  agent_.MakeGrants(1, "after");
  v1::ListAuditEventsRequest request;
  request.mutable_since()->set_seconds(absl::ToUnixSeconds(agent_.clock.Read().wall));
  v1::ListAuditEventsResponse response;
  ASSERT_TRUE(agent_.LocalStub()->ListAuditEvents(NewContext().get(), request, &response).ok());
  ASSERT_EQ(response.events_size(), 2);
  EXPECT_EQ(response.events(0).kind(), v1::GRANT_EXPIRED);
  EXPECT_EQ(response.events(1).detail(), "after");
}

// ---- Health and reflection

TEST_F(ServerTest, HealthIsServedToWhoeverCanConnect) {
  const auto stranger = agent_.Client("URI:spiffe://example.org/stranger");
  for (const auto& channel : {agent_.Local(), agent_.Remote(stranger)}) {
    const auto stub = grpc::health::v1::Health::NewStub(channel);
    grpc::health::v1::HealthCheckRequest request;
    grpc::health::v1::HealthCheckResponse response;
    for (const char* service : {"", "postern.v1.AgentService"}) {
      request.set_service(service);
      ASSERT_TRUE(stub->Check(NewContext().get(), request, &response).ok());
      EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
    }
    const auto context = NewContext();
    const auto watch = stub->Watch(context.get(), request);
    ASSERT_TRUE(watch->Read(&response));
    EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
    context->TryCancel();
    EXPECT_EQ(watch->Finish().error_code(), grpc::CANCELLED);
    request.set_service("other");
    EXPECT_EQ(stub->Check(NewContext().get(), request, &response).error_code(), grpc::NOT_FOUND);
  }
}

TEST_F(ServerTest, ReflectionIsForTheLocalSocketAlone) {
  const char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  // Field 7, list_services.
  const std::string list = "\x3a\x01*";
  std::string reply;
  EXPECT_TRUE(RawCall(agent_.Local(), kReflection, list, &reply).ok());
  EXPECT_THAT(reply, HasSubstr("postern.v1.AgentService"));
  const Identity controller = agent_.Client(absl::StrCat("URI:", kControllerSan));
  EXPECT_EQ(RawCall(agent_.Remote(controller), kReflection, list).error_code(),
            grpc::UNIMPLEMENTED);
}

// ---- Stopping

TEST_F(ServerTest, StoppingEndsCallsThatNobodyWillAnswer) {
  const auto stub = agent_.LocalStub();
  ASSERT_TRUE(GetStatus(*stub).ok());
  agent_.PauseLoop();
  std::future<Answer> answer =
      std::async(std::launch::async, [&] { return Create(*stub, NewGrant()); });
  std::thread stop([&] { agent_.Stop(); });
  agent_.ResumeLoop();
  stop.join();
  // Whether the call comes before the stop is chance; gRPC cancels the ones that
  // come with it.
  EXPECT_THAT(answer.get().status.error_code(),
              AnyOf(grpc::OK, grpc::UNAVAILABLE, grpc::CANCELLED));
  EXPECT_EQ(GetStatus(*stub).error_code(), grpc::UNAVAILABLE);
}

}  // namespace
}  // namespace postern

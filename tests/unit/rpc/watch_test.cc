// WatchEvents: order, replay, slow readers.

#include "agent/rpc/watch.h"

#include <gmock/gmock.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/rpc/streams.h"
#include "tests/unit/rpc/test_agent.h"

namespace postern {
namespace {

using ::testing::HasSubstr;

// One reader with a connection of its own.
class Reader {
 public:
  Reader(const std::shared_ptr<grpc::Channel>& channel, uint64_t after)
      : stub_(v1::AgentService::NewStub(channel)), context_(NewContext()) {
    v1::WatchEventsRequest request;
    request.set_after_number(after);
    stream_ = stub_->WatchEvents(context_.get(), request);
  }

  // Waits until the agent says that nothing will be missed.
  void AwaitSubscription() { stream_->WaitForInitialMetadata(); }

  // The next event's number; 0 at the end.
  uint64_t Next() {
    v1::AuditEvent event;
    return stream_->Read(&event) ? event.number() : 0;
  }
  std::vector<uint64_t> Next(int count) {
    std::vector<uint64_t> numbers;
    for (int i = 0; i < count; ++i) numbers.push_back(Next());
    return numbers;
  }

  void Cancel() { context_->TryCancel(); }
  grpc::Status Finish() { return stream_->Finish(); }

 private:
  std::unique_ptr<v1::AgentService::Stub> stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<v1::AuditEvent>> stream_;
};

std::vector<uint64_t> Range(uint64_t first, uint64_t last) {
  std::vector<uint64_t> numbers;
  for (uint64_t n = first; n <= last; ++n) numbers.push_back(n);
  return numbers;
}

class WatchTest : public testing::Test {
 protected:
  std::shared_ptr<grpc::Channel> ChannelOf(const std::string& san) {
    return agent_.Remote(agent_.Client(san));
  }
  std::shared_ptr<grpc::Channel> Viewer() { return ChannelOf(absl::StrCat("URI:", kViewerSan)); }
  std::unique_ptr<Reader> NewReader(uint64_t after) {
    return std::make_unique<Reader>(Viewer(), after);
  }

  // Readers that live as long as the test.
  void Fill(const std::shared_ptr<grpc::Channel>& channel, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      readers_.push_back(std::make_unique<Reader>(channel, 0));
      readers_.back()->AwaitSubscription();
    }
  }
  static grpc::Status StatusOfOneMore(const std::shared_ptr<grpc::Channel>& channel) {
    Reader refused(channel, 0);
    EXPECT_EQ(refused.Next(), 0U);
    return refused.Finish();
  }
  // Whether one more reader is served.
  bool Serves(const std::shared_ptr<grpc::Channel>& channel) {
    Reader reader(channel, 0);
    reader.AwaitSubscription();
    agent_.MakeGrants(1, "");
    const bool served = reader.Next() != 0;
    reader.Cancel();
    return served;
  }

  void TearDown() override {
    for (const auto& reader : readers_) reader->Cancel();
  }

  // Event 1 is the agent's start.
  TestAgent agent_;
  std::vector<std::unique_ptr<Reader>> readers_;
};

TEST_F(WatchTest, NewEventsComeInOrder) {
  agent_.MakeGrants(3, "");
  const auto reader = NewReader(0);
  reader->AwaitSubscription();
  agent_.MakeGrants(2, "");
  agent_.MakeGrants(3, "");
  EXPECT_EQ(reader->Next(5), Range(5, 9));
}

TEST_F(WatchTest, ThePastComesFirst) {
  // More than one page of it.
  agent_.MakeGrants(600, "");
  const auto reader = NewReader(1);
  EXPECT_EQ(reader->Next(300), Range(2, 301));
  agent_.MakeGrants(5, "");
  EXPECT_EQ(reader->Next(305), Range(302, 606));
}

TEST_F(WatchTest, NothingIsMissedOrRepeatedWhileThePastIsRead) {
  agent_.MakeGrants(2000, "");
  const auto reader = NewReader(1);
  std::vector<uint64_t> read;
  for (int i = 0; i < 50; ++i) {
    for (const uint64_t number : reader->Next(40)) read.push_back(number);
    agent_.MakeGrants(4, "");
  }
  for (const uint64_t number : reader->Next(200)) read.push_back(number);
  EXPECT_EQ(read, Range(2, 2201));
}

TEST_F(WatchTest, AnEventThatIsNotAnnouncedIsReadFromTheAudit) {
  const auto reader = NewReader(0);
  reader->AwaitSubscription();
  // What the kernel refuses was recorded before, as event 2, which is not
  // announced; its failure, event 3, is.
  agent_.OnLoop([&](Gatekeeper&) { agent_.firewall.RefuseSource(*Address::Parse("192.0.2.1")); });
  v1::CreateGrantRequest refused = NewGrant();
  refused.set_source_prefixes(0, "192.0.2.1");
  v1::Grant grant;
  const auto stub = agent_.LocalStub();
  EXPECT_FALSE(stub->CreateGrant(NewContext().get(), refused, &grant).ok());
  EXPECT_TRUE(stub->CreateGrant(NewContext().get(), NewGrant(), &grant).ok());
  EXPECT_EQ(reader->Next(3), Range(2, 4));
}

TEST_F(WatchTest, ASlowReaderIsEndedAndToldWhereToResume) {
  const auto reader = NewReader(0);
  reader->AwaitSubscription();
  const int count = static_cast<int>(Watch::kMaxWaiting) + 200;
  for (int i = 0; i < count; ++i) agent_.MakeGrants(1, std::string(4096, 'x'));

  uint64_t last = 1;
  while (const uint64_t number = reader->Next()) {
    ASSERT_EQ(number, last + 1);
    last = number;
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::ABORTED);
  EXPECT_THAT(status.error_message(), testing::EndsWith(absl::StrCat("after_number ", last)));

  const auto again = NewReader(last);
  EXPECT_EQ(again->Next(static_cast<int>(1 + count - last)), Range(last + 1, 1 + count));
}

TEST_F(WatchTest, AReaderWhoGoesLeavesItsPlace) {
  const auto channel = Viewer();
  Fill(channel, kRemoteStreams.per_peer);
  EXPECT_EQ(StatusOfOneMore(channel).error_code(), grpc::RESOURCE_EXHAUSTED);

  readers_.front()->Cancel();
  EXPECT_EQ(readers_.front()->Finish().error_code(), grpc::CANCELLED);
  // The agent learns of it a little later.
  for (;;) {
    Reader next(channel, 0);
    next.AwaitSubscription();
    agent_.MakeGrants(1, "");
    if (next.Next() != 0) {
      next.Cancel();
      break;
    }
    ASSERT_EQ(next.Finish().error_code(), grpc::RESOURCE_EXHAUSTED);
  }
}

TEST_F(WatchTest, OnePeerOverSeveralConnectionsLeavesRoomForOthers) {
  Fill(Viewer(), kRemoteStreams.per_peer / 2);
  Fill(Viewer(), kRemoteStreams.per_peer - kRemoteStreams.per_peer / 2);
  const grpc::Status refused = StatusOfOneMore(Viewer());
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(),
              HasSubstr(absl::StrCat(kViewerSan, " has ", kRemoteStreams.per_peer, " streams")));
  EXPECT_TRUE(Serves(ChannelOf(absl::StrCat("DNS:", kOperatorSan))));
}

TEST_F(WatchTest, RemoteReadersLeaveRoomForTheLocalSocket) {
  Fill(Viewer(), kRemoteStreams.per_peer);
  Fill(ChannelOf(absl::StrCat("DNS:", kOperatorSan)),
       kRemoteStreams.total - kRemoteStreams.per_peer);
  const grpc::Status refused = StatusOfOneMore(ChannelOf(absl::StrCat("URI:", kControllerSan)));
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr(absl::StrCat(kRemoteStreams.total, " streams")));
  EXPECT_TRUE(Serves(agent_.Local()));
}

TEST_F(WatchTest, HealthStreamsOfStrangersHoldNoReaderUp) {
  const auto health =
      grpc::health::v1::Health::NewStub(ChannelOf("URI:spiffe://example.org/stranger"));
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<grpc::health::v1::HealthCheckResponse>>> streams;
  grpc::health::v1::HealthCheckResponse response;
  for (size_t i = 0; i < kRemoteStreams.without_role; ++i) {
    contexts.push_back(NewContext());
    streams.push_back(health->Watch(contexts.back().get(), {}));
    ASSERT_TRUE(streams.back()->Read(&response));
  }
  const auto context = NewContext();
  const auto refused = health->Watch(context.get(), {});
  EXPECT_FALSE(refused->Read(&response));
  EXPECT_EQ(refused->Finish().error_code(), grpc::RESOURCE_EXHAUSTED);

  EXPECT_TRUE(Serves(Viewer()));
  const auto known = grpc::health::v1::Health::NewStub(Viewer());
  contexts.push_back(NewContext());
  EXPECT_TRUE(known->Watch(contexts.back().get(), {})->Read(&response));
  for (const auto& one : contexts) one->TryCancel();
}

TEST_F(WatchTest, ANumberAheadOfTheAuditIsRefused) {
  const auto reader = NewReader(99);
  EXPECT_EQ(reader->Next(), 0U);
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("after_number: 99 is ahead of the last event, 1"));
}

TEST_F(WatchTest, AReloadEndsTheStreamsOfPeersThatAreKnownNoMore) {
  const auto reader = NewReader(0);
  reader->AwaitSubscription();
  agent_.server->Reload(agent_.config, {});
  agent_.MakeGrants(1, "");
  EXPECT_EQ(reader->Next(), 2U);
  agent_.config.listen->peers.clear();
  agent_.server->Reload(agent_.config, {});
  EXPECT_EQ(reader->Next(), 0U);
  EXPECT_EQ(reader->Finish().error_code(), grpc::UNAUTHENTICATED);
}

TEST_F(WatchTest, StoppingEndsAllStreams) {
  const auto idle = NewReader(0);
  idle->AwaitSubscription();
  // One that does not read what it is sent.
  const auto stuck = NewReader(0);
  stuck->AwaitSubscription();
  for (int i = 0; i < 100; ++i) agent_.MakeGrants(1, std::string(4096, 'x'));
  EXPECT_EQ(idle->Next(100), Range(2, 101));
  agent_.Stop();
  EXPECT_EQ(idle->Next(), 0U);
  EXPECT_EQ(idle->Finish().error_code(), grpc::UNAVAILABLE);
  while (stuck->Next() != 0) {
  }
  EXPECT_FALSE(stuck->Finish().ok());
}

}  // namespace
}  // namespace postern

// Calls that are too large or too many, and readers of events that do not read.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/kernel/daemon/load_test.h"

namespace postern {
namespace {

using ::testing::EndsWith;

// ---- Calls

// Runs `abuse` in some threads, again and again, until `check` is done.
void While(int threads, const std::function<void(int)>& abuse, const std::function<void()>& check) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> abusers;
  for (int i = 0; i < threads; ++i) {
    abusers.emplace_back([&abuse, &stop, i] {
      while (!stop) abuse(i);
    });
  }
  check();
  stop = true;
  for (std::thread& thread : abusers) thread.join();
}

struct Flood {
  int calls_at_once;
  size_t bytes;
};

// Above what a request may have: gRPC takes them in whole before anybody can
// refuse them, within what it may have for all of its connections.
class OversizedMessagesTest : public LoadTest, public testing::WithParamInterface<Flood> {};

TEST_P(OversizedMessagesTest, HoldNobodyUp) {
  std::vector<std::unique_ptr<v1::AgentService::Stub>> stubs;
  for (int i = 0; i < 8; ++i) stubs.push_back(host_->Remote());
  v1::CreateGrantRequest huge = NewGrant(kStranger, absl::Minutes(1));
  huge.set_justification(std::string(GetParam().bytes, 'x'));
  std::atomic<int> refused = 0;
  While(
      GetParam().calls_at_once,
      [&](int i) {
        const grpc::StatusCode code =
            Create(*stubs[static_cast<size_t>(i) % stubs.size()], huge).status.error_code();
        EXPECT_TRUE(code == grpc::INVALID_ARGUMENT || code == grpc::RESOURCE_EXHAUSTED) << code;
        ++refused;
      },
      [&] {
        ExpectServed(*warm_);
        ExpectNewcomerServed();
      });
  EXPECT_GE(refused, GetParam().calls_at_once);
  EXPECT_FALSE(host_->Admits(kStranger, 22));
}

INSTANTIATE_TEST_SUITE_P(Load, OversizedMessagesTest,
                         testing::Values(Flood{16, size_t{2} << 20}, Flood{2, 10'000'000}));

TEST_F(LoadTest, OversizedMetadataIsRefused) {
  const auto context = NewContext();
  context->AddMetadata("x-much", std::string(200'000, 'x'));
  v1::GetStatusResponse response;
  EXPECT_EQ(host_->Remote()->GetStatus(context.get(), {}, &response).error_code(),
            grpc::RESOURCE_EXHAUSTED);
  ExpectServed(*warm_);
}

TEST_F(LoadTest, AControllerInALoopHoldsNobodyUp) {
  std::vector<std::unique_ptr<v1::AgentService::Stub>> stubs;
  for (int i = 0; i < 16; ++i) stubs.push_back(host_->Remote());
  std::atomic<int> grants = 0;
  While(
      16,
      [&](int i) {
        v1::AgentService::Stub& stub = *stubs[static_cast<size_t>(i)];
        const int number = ++grants;
        const Answer made =
            Create(stub, NewGrant(absl::StrCat("10.20.", number / 250 % 250, ".", number % 250),
                                  absl::Minutes(10)));
        EXPECT_TRUE(made.status.ok()) << made.status.error_message();
        if (number % 2 == 0) {
          EXPECT_TRUE(Revoke(stub, made.grant.id()).status.ok());
        }
      },
      [&] {
        ExpectServed(*warm_);
        ExpectServed(*host_->Local());
      });
  EXPECT_GT(grants, 100);
}

TEST_F(LoadTest, CallsWithoutEndOnOneConnectionHoldNobodyUp) {
  const auto greedy = host_->Remote();
  constexpr int kCalls = 3000;
  struct Call {
    std::unique_ptr<grpc::ClientContext> context = NewContext();
    v1::ListAuditEventsRequest request;
    v1::ListAuditEventsResponse response;
  };
  for (int i = 0; i < 300; ++i) Create(*greedy, NewGrant("10.30.0.1", absl::Minutes(10)));
  std::vector<Call> calls(kCalls);
  std::atomic<int> open = kCalls;
  for (Call& call : calls) {
    call.request.set_page_size(1000);
    greedy->async()->ListAuditEvents(call.context.get(), &call.request, &call.response,
                                     [&open](const grpc::Status& /*status*/) { --open; });
  }
  ExpectServed(*warm_);
  ExpectNewcomerServed();
  for (Call& call : calls) call.context->TryCancel();
  while (open > 0) absl::SleepFor(absl::Milliseconds(1));
}

// ---- Readers of events

class Reader {
 public:
  Reader(std::unique_ptr<v1::AgentService::Stub> stub, uint64_t after) : stub_(std::move(stub)) {
    v1::WatchEventsRequest request;
    request.set_after_number(after);
    context_.set_deadline(absl::ToChronoTime(absl::Now() + 4 * kPatience));
    stream_ = stub_->WatchEvents(&context_, request);
  }

  void AwaitSubscription() { stream_->WaitForInitialMetadata(); }
  // The next event's number; 0 at the end.
  uint64_t Next() {
    v1::AuditEvent event;
    return stream_->Read(&event) ? event.number() : 0;
  }
  // Up to the event `last`; the number of the one read last.
  uint64_t ReadUpTo(uint64_t from, uint64_t last) {
    while (from < last) {
      const uint64_t number = Next();
      if (number == 0) return from;
      EXPECT_EQ(number, from + 1);
      from = number;
    }
    return from;
  }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Finish() { return stream_->Finish(); }

 private:
  const std::unique_ptr<v1::AgentService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::AuditEvent>> stream_;
};

class ReaderTest : public LoadTest {
 protected:
  uint64_t LastEvent() {
    const absl::StatusOr<std::vector<v1::AuditEvent>> events = ListEvents(*warm_);
    EXPECT_OK(events.status());
    return events.ok() && !events->empty() ? events->back().number() : 0;
  }

  // Two events each, of some size.
  void MakeEvents(int count) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([count, stub = host_->Remote()] {
        for (int made = 0; made < count / 16; ++made) {
          v1::CreateGrantRequest request = NewGrant("10.40.0.1", absl::Minutes(10));
          request.set_justification(std::string(2048, 'x'));
          EXPECT_EQ(Create(*stub, request).status.error_message(), "");
          EXPECT_EQ(Revoke(*stub, request.id()).status.error_message(), "");
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
};

TEST_F(ReaderTest, OneWhoCannotFollowIsToldAndCanResumeAndTheOthersGetAll) {
  const uint64_t first = LastEvent();
  Reader slow(host_->Remote(), 0);
  slow.AwaitSubscription();
  Reader quick(host_->Remote(), 0);
  quick.AwaitSubscription();
  uint64_t quick_read = 0;
  // More than wait for a reader, and soon enough that it still hears why.
  constexpr uint64_t kEvents = 1600;
  std::thread reading([&] { quick_read = quick.ReadUpTo(first, first + kEvents); });
  MakeEvents(kEvents);
  reading.join();
  EXPECT_EQ(quick_read, first + kEvents);

  const uint64_t slow_read = slow.ReadUpTo(first, first + kEvents);
  EXPECT_LT(slow_read, first + kEvents);
  const grpc::Status status = slow.Finish();
  EXPECT_EQ(status.error_code(), grpc::ABORTED);
  EXPECT_THAT(status.error_message(), EndsWith(absl::StrCat("after_number ", slow_read)));
  Reader again(host_->Remote(), slow_read);
  EXPECT_EQ(again.ReadUpTo(slow_read, first + kEvents), first + kEvents);
  quick.Cancel();
  again.Cancel();
}

TEST_F(ReaderTest, ThoseWhoNeverReadHoldNobodyUp) {
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < 20; ++i) {
    readers.push_back(std::make_unique<Reader>(host_->Remote(), 0));
    readers.back()->AwaitSubscription();
  }
  std::thread events([this] { MakeEvents(3200); });
  ExpectServed(*warm_);
  events.join();
  ExpectServed(*host_->Local());
  for (const auto& reader : readers) reader->Cancel();
}

TEST_F(ReaderTest, TooManyAreRefusedAndHoldNobodyUp) {
  std::vector<std::unique_ptr<Reader>> readers;
  const std::shared_ptr<grpc::Channel> channel = host_->RemoteChannel();
  for (int i = 0; i < 24; ++i) {
    readers.push_back(std::make_unique<Reader>(v1::AgentService::NewStub(channel), 0));
    readers.back()->AwaitSubscription();
  }
  for (int i = 0; i < 100; ++i) {
    Reader refused(v1::AgentService::NewStub(channel), 0);
    EXPECT_EQ(refused.Next(), 0U);
    EXPECT_EQ(refused.Finish().error_code(), grpc::RESOURCE_EXHAUSTED);
  }
  ExpectServed(*warm_);
  ExpectServed(*host_->Local());
  for (const auto& reader : readers) reader->Cancel();
}

}  // namespace
}  // namespace postern

#include "agent/sessions/matching.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Address A(absl::string_view text) { return Address::Parse(text).value(); }
Prefix P(absl::string_view text) { return Prefix::Parse(text).value(); }

constexpr char kHost[] = "192.0.2.1";
constexpr char kHost6[] = "2001:db8::1";

EndedGrant Ended(Admission admission, absl::string_view source, uint16_t port = 22,
                 Protocol protocol = Protocol::kTcp) {
  return {.keys = {{.source = P(source), .protocol = protocol, .port = port}},
          .admission = admission};
}

TrackedFlow Tracked(absl::string_view from, uint16_t port = 22, bool cut = false,
                    Protocol protocol = Protocol::kTcp) {
  const Address source = A(from);
  const Flow flow{.remote = source,
                  .remote_port = 40000,
                  .local = A(source.family == Family::kIpv4 ? kHost : kHost6),
                  .local_port = port};
  return {.protocol = protocol, .sent = flow, .served = flow, .cut = cut};
}

// A Matching with what it borrows.
class MatchingTest : public ::testing::Test {
 protected:
  MatchingTest() {
    for (const char* own : {"127.0.0.0/8", "192.0.2.1/32", "::1/128", "2001:db8::1/128"}) {
      local_.Insert(P(own));
    }
  }

  Matching& After(std::vector<EndedGrant> ended) {
    ended_.emplace(ended);
    return matching_.emplace(*ended_, coverage_, spared_, local_);
  }

  Sessions::CoverageFunction coverage_ = [this](const Address&, Protocol, uint16_t) {
    return covered_;
  };
  Coverage covered_ = Coverage::kNone;
  std::set<Flow> spared_;
  PrefixIndex local_;
  std::optional<EndedKeys> ended_;
  std::optional<Matching> matching_;
};

TEST_F(MatchingTest, AdmissionLabelAndCoverageDecide) {
  struct Case {
    Admission ended;
    bool labelled;
    Coverage covered;
    FlowAction want;
  };
  constexpr Case kCases[] = {
      {Admission::kKeep, false, Coverage::kNone, FlowAction::kEnd},
      {Admission::kKeep, false, Coverage::kCut, FlowAction::kMark},
      {Admission::kKeep, false, Coverage::kKeep, FlowAction::kLeave},
      {Admission::kKeep, true, Coverage::kNone, FlowAction::kLeave},
      {Admission::kCut, true, Coverage::kNone, FlowAction::kEnd},
      {Admission::kCut, true, Coverage::kCut, FlowAction::kLeave},
      {Admission::kCut, true, Coverage::kKeep, FlowAction::kLeave},
      {Admission::kCut, false, Coverage::kNone, FlowAction::kLeave},
  };
  for (const Case& c : kCases) {
    covered_ = c.covered;
    EXPECT_EQ(
        After({Ended(c.ended, "198.51.100.0/24")}).Judge(Tracked("198.51.100.9", 22, c.labelled)),
        c.want)
        << "ended " << static_cast<int>(c.ended) << ", labelled " << c.labelled << ", covered "
        << static_cast<int>(c.covered);
  }
}

TEST_F(MatchingTest, OnlyTheKeysOwnFlowsEnd) {
  Matching& matching =
      After({Ended(Admission::kKeep, "198.51.100.0/24"), Ended(Admission::kKeep, "203.0.113.7/32"),
             Ended(Admission::kKeep, "2001:db8:5::/48", 3389),
             Ended(Admission::kKeep, "203.0.113.7/32", 5985, Protocol::kUdp)});
  EXPECT_EQ(matching.Judge(Tracked("198.51.100.255")), FlowAction::kEnd);
  EXPECT_EQ(matching.Judge(Tracked("203.0.113.7")), FlowAction::kEnd);
  EXPECT_EQ(matching.Judge(Tracked("2001:db8:5:1::9", 3389)), FlowAction::kEnd);
  EXPECT_EQ(matching.Judge(Tracked("203.0.113.7", 5985, false, Protocol::kUdp)), FlowAction::kEnd);

  EXPECT_EQ(matching.Judge(Tracked("198.51.101.0")), FlowAction::kLeave) << "another source";
  EXPECT_EQ(matching.Judge(Tracked("203.0.113.8")), FlowAction::kLeave) << "another source";
  EXPECT_EQ(matching.Judge(Tracked("203.0.113.7", 23)), FlowAction::kLeave) << "another port";
  EXPECT_EQ(matching.Judge(Tracked("203.0.113.7", 5985)), FlowAction::kLeave) << "TCP, not UDP";
  EXPECT_EQ(matching.Judge(Tracked("2001:db8:6::9", 3389)), FlowAction::kLeave);
}

TEST_F(MatchingTest, AKeyEndedByBothKindsEndsBothKindsOfFlows) {
  Matching& matching = After(
      {Ended(Admission::kKeep, "198.51.100.9/32"), Ended(Admission::kCut, "198.51.100.0/24")});
  EXPECT_EQ(matching.Judge(Tracked("198.51.100.9", 22, true)), FlowAction::kEnd);
  EXPECT_EQ(matching.Judge(Tracked("198.51.100.9", 22, false)), FlowAction::kEnd);
  EXPECT_EQ(matching.Judge(Tracked("198.51.100.8", 22, true)), FlowAction::kEnd);
  EXPECT_EQ(matching.Judge(Tracked("198.51.100.8", 22, false)), FlowAction::kLeave);
}

TEST_F(MatchingTest, CoverageIsAskedAboutWhatTheClientSent) {
  TrackedFlow redirected = Tracked("198.51.100.9", 22);
  redirected.served.local_port = 2222;
  coverage_ = [](const Address& source, Protocol protocol, uint16_t port) {
    const bool asked = source == A("198.51.100.9") && protocol == Protocol::kTcp && port == 22;
    return asked ? Coverage::kKeep : Coverage::kNone;
  };
  Matching& matching = After({Ended(Admission::kKeep, "0.0.0.0/0")});
  EXPECT_EQ(matching.Judge(redirected), FlowAction::kLeave);
  EXPECT_EQ(matching.JudgeSocket(redirected.served), SocketAction::kLeave);
}

TEST_F(MatchingTest, ForwardedAndOwnFlowsWereNeverAdmitted) {
  Matching& matching = After({Ended(Admission::kKeep, "0.0.0.0/0")});
  TrackedFlow forwarded = Tracked("198.51.100.9");
  forwarded.sent.local = forwarded.served.local = A("203.0.113.50");
  EXPECT_EQ(matching.Judge(forwarded), FlowAction::kLeave);

  EXPECT_EQ(matching.Judge(Tracked(kHost)), FlowAction::kLeave) << "to itself, over loopback";
  EXPECT_EQ(matching.JudgeSocket(Tracked(kHost).served), SocketAction::kLeave);
}

TEST_F(MatchingTest, ADestinationTranslatedElsewhereEnds) {
  TrackedFlow published = Tracked("198.51.100.9");
  published.served.local = A("172.17.0.2");
  EXPECT_EQ(After({Ended(Admission::kKeep, "198.51.100.9/32")}).Judge(published), FlowAction::kEnd);
}

TEST_F(MatchingTest, SparedConnectionsStay) {
  const TrackedFlow flow = Tracked("198.51.100.9");
  spared_ = {flow.served};
  Matching& matching = After({Ended(Admission::kKeep, "198.51.100.9/32")});
  EXPECT_EQ(matching.JudgeSocket(flow.served), SocketAction::kLeave) << "not tracked";
  EXPECT_EQ(matching.Judge(flow), FlowAction::kLeave);
  EXPECT_EQ(matching.JudgeSocket(flow.served), SocketAction::kLeave) << "tracked";
}

TEST_F(MatchingTest, SocketsFollowTheirFlows) {
  Matching& matching = After({Ended(Admission::kCut, "198.51.100.0/24")});
  EXPECT_THAT(matching.SocketPorts(), IsEmpty());
  TrackedFlow cut = Tracked("198.51.100.9", 22, true);
  cut.served.local_port = 2222;
  const TrackedFlow kept = Tracked("198.51.100.8", 22, false);
  matching.Judge(cut);
  matching.Judge(kept);

  EXPECT_THAT(matching.SocketPorts(), ElementsAre(2222));
  EXPECT_EQ(matching.JudgeSocket(cut.served), SocketAction::kDestroy);
  EXPECT_EQ(matching.JudgeSocket(kept.served), SocketAction::kLeave);
  EXPECT_EQ(matching.JudgeSocket(Tracked("198.51.100.7").served), SocketAction::kLeave)
      << "not tracked: nothing says that the cut grant admitted it";
}

TEST_F(MatchingTest, AfterAKeepGrantSocketsWithoutAFlowEndToo) {
  Matching& matching = After({Ended(Admission::kKeep, "198.51.100.0/24"),
                              Ended(Admission::kKeep, "198.51.100.0/24", 53, Protocol::kUdp)});
  EXPECT_THAT(matching.SocketPorts(), ElementsAre(22));
  EXPECT_EQ(matching.JudgeSocket(Tracked("198.51.100.9").served),
            SocketAction::kDestroyIfUntracked);
  EXPECT_EQ(matching.JudgeSocket(Tracked("203.0.113.7").served), SocketAction::kLeave);
  covered_ = Coverage::kCut;
  EXPECT_EQ(matching.JudgeSocket(Tracked("198.51.100.9").served), SocketAction::kLeave);
}

TEST_F(MatchingTest, AMarkedFlowKeepsItsSocket) {
  covered_ = Coverage::kCut;
  Matching& matching = After({Ended(Admission::kKeep, "198.51.100.9/32")});
  const TrackedFlow flow = Tracked("198.51.100.9");
  EXPECT_EQ(matching.Judge(flow), FlowAction::kMark);
  EXPECT_EQ(matching.JudgeSocket(flow.served), SocketAction::kLeave);
}

TEST(PrefixIndexTest, HoldsTheAddressesOfItsPrefixes) {
  PrefixIndex index;
  EXPECT_FALSE(index.Contains(A("10.0.0.1")));
  index.Insert(P("10.0.0.0/8"));
  index.Insert(P("192.0.2.1/32"));
  index.Insert(P("2001:db8::/64"));
  EXPECT_TRUE(index.Contains(A("10.255.0.1")));
  EXPECT_TRUE(index.Contains(A("192.0.2.1")));
  EXPECT_TRUE(index.Contains(A("2001:db8::77")));
  EXPECT_FALSE(index.Contains(A("192.0.2.2")));
  EXPECT_FALSE(index.Contains(A("2001:db8:0:1::1")));
}

TEST(EndedKeysTest, NothingEndedIsEmpty) {
  EXPECT_TRUE(EndedKeys({}).empty());
  EXPECT_TRUE(EndedKeys({EndedGrant{}}).empty());
}

}  // namespace
}  // namespace postern

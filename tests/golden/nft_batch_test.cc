// The exact bytes that transactions become, compared with tests/golden/data.
// After a wanted change, POSTERN_GOLDEN_UPDATE=1 writes those files anew; the
// change is then reviewed as their diff.

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/firewall/nft/batch.h"
#include "agent/firewall/nft/capabilities.h"
#include "agent/firewall/nft/encode.h"
#include "agent/firewall/nft/timeout.h"
#include "agent/firewall/ruleset.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

constexpr nft::Capabilities kNewKernel = {.destroys_elements = true,
                                          .updates_in_place = true,
                                          .protects_tables = true,
                                          .limits_rates = true,
                                          .logs_packets = true};
constexpr nft::Capabilities kMiddleKernel = {.destroys_elements = true,
                                             .updates_in_place = false,
                                             .protects_tables = false,
                                             .limits_rates = true,
                                             .logs_packets = false};
constexpr nft::Capabilities kOldKernel = {};

constexpr uint32_t kFirstSequence = 100;

BootTime At(double seconds) { return BootTime(absl::Seconds(seconds)); }

const nft::TimeoutClock kClock = {.last_tick = At(1000), .ticks_per_second = 250};

const SetId kKeep32 = {Family::kIpv4, 32, Admission::kKeep};
const SetId kCut64 = {Family::kIpv6, 64, Admission::kCut};

std::string NameOf(const nlmsghdr& message) {
  if (message.nlmsg_type == NFNL_MSG_BATCH_BEGIN) return "BATCH_BEGIN";
  if (message.nlmsg_type == NFNL_MSG_BATCH_END) return "BATCH_END";
  switch (NFNL_MSG_TYPE(message.nlmsg_type)) {
    case NFT_MSG_NEWTABLE:
      return "NEWTABLE";
    case NFT_MSG_DELTABLE:
      return "DELTABLE";
    case NFT_MSG_NEWCHAIN:
      return "NEWCHAIN";
    case NFT_MSG_NEWRULE:
      return "NEWRULE";
    case NFT_MSG_DELRULE:
      return "DELRULE";
    case NFT_MSG_NEWSET:
      return "NEWSET";
    case NFT_MSG_DELSET:
      return "DELSET";
    case NFT_MSG_NEWSETELEM:
      return "NEWSETELEM";
    case NFT_MSG_DELSETELEM:
      return "DELSETELEM";
    case NFT_MSG_NEWOBJ:
      return "NEWOBJ";
    case nft::kDestroySetElement:
      return "DESTROYSETELEM";
    default:
      return absl::StrCat("type ", message.nlmsg_type);
  }
}

// Sixteen bytes a line: offset, hexadecimal, text.
std::string HexDump(const uint8_t* bytes, size_t size) {
  std::string dump;
  for (size_t line = 0; line < size; line += 16) {
    std::string text;
    absl::StrAppendFormat(&dump, "  %04x ", line);
    for (size_t i = line; i < line + 16; ++i) {
      if (i % 4 == 0) dump += ' ';
      if (i >= size) {
        dump += "  ";
        continue;
      }
      absl::StrAppendFormat(&dump, "%02x", bytes[i]);
      text += bytes[i] >= ' ' && bytes[i] <= '~' ? static_cast<char>(bytes[i]) : '.';
    }
    absl::StrAppend(&dump, "  ", text, "\n");
  }
  return dump;
}

std::string Dump(const nft::Batch& batch) {
  std::string dump;
  const absl::string_view bytes = batch.bytes();
  auto left = static_cast<int>(bytes.size());
  for (const nlmsghdr* message = nft::MessageAt(bytes.data()); mnl_nlmsg_ok(message, left);
       message = mnl_nlmsg_next(message, &left)) {
    absl::StrAppendFormat(&dump, "%d %s flags 0x%x, %d bytes\n", message->nlmsg_seq,
                          NameOf(*message), message->nlmsg_flags, message->nlmsg_len);
    dump += HexDump(static_cast<const uint8_t*>(mnl_nlmsg_get_payload(message)),
                    mnl_nlmsg_get_payload_len(message));
  }
  return dump;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

struct GoldenCase {
  const char* name;
  nft::Capabilities kernel;
  Transaction transaction;
};

std::vector<GoldenCase> Cases() {
  const PutElement put = {kKeep32, Key("203.0.113.7", 22), At(4600)};
  const PutElement put6 = {kCut64, Key("2001:db8::/64", 3389, Protocol::kUdp), At(1000.001)};
  const RemoveElement remove = {kKeep32, Key("203.0.113.7", 22)};
  const Rule loads = {
      .chain = "gate",
      .expressions = {LoadMeta{MetaKey::kInputInterface}, LoadMeta{MetaKey::kOutputInterface, 4},
                      LoadMeta{MetaKey::kL4Protocol, 1}, LoadMeta{MetaKey::kNfProtocol, 2},
                      LoadPayload{PayloadBase::kNetwork, 12, 4, 0},
                      LoadPayload{PayloadBase::kTransport, 2, 2, 2}, LoadCt{CtKey::kState},
                      LoadCt{CtKey::kDirection}, LoadCt{CtKey::kLabel}, LoadCt{CtKey::kProtocol},
                      LoadCt{CtKey::kOriginalSource, Family::kIpv4},
                      LoadCt{CtKey::kOriginalSource, Family::kIpv6}, LoadCt{CtKey::kOriginalPort},
                      LoadFibType{FibAddress::kDestination}, LoadFibType{FibAddress::kSource}}};
  const Rule decisions = {
      .chain = "gate",
      .expressions = {Mask{0, {255, 255, 255, 0}}, Compare{0, true, {6}},
                      Compare{0, false, {0, 22}}, Lookup{"keep4_32", 0, false},
                      Lookup{"cut6_64", 0, true}, SetCutLabel{}, Count{"dropped"}, Jump{"admit"}}};
  const AddDeniedSet denied4 = {
      Family::kIpv4,
      true,
      {{Key("203.0.113.7", 22), absl::Minutes(59), {.packets = 3, .bytes = 180}},
       // What no clock should make of it.
       {Key("203.0.113.8", 22, Protocol::kUdp), absl::Hours(2), {}}}};
  const AddDeniedSet observed6 = {
      Family::kIpv6, false, {{Key("2001:db8::7", 3389), absl::ZeroDuration(), {}}}};
  const Rule newcomer = {.chain = "newcomer4",
                         .expressions = {Limit{2, absl::Seconds(1), 200}, UpdateSet{"denied4", 1},
                                         Limit{12, absl::Minutes(1), 12}, SendToLog{22338}}};
  return {
      {"denied_new_kernel", kNewKernel, {denied4, observed6, AddRule{newcomer}}},
      // A kernel without the one remembers all the same, and one without either.
      {"denied_without_log", kMiddleKernel, {AddRule{newcomer}}},
      {"denied_without_limit", kOldKernel, {AddRule{newcomer}}},
      {"table_and_chains",
       kNewKernel,
       {ReplaceTable{}, AddCounter{"dropped"}, AddChain{"admit", std::nullopt},
        AddChain{"gate", BaseHook{Hook::kPrerouting, -160}},
        AddChain{"reply", BaseHook{Hook::kPostrouting, -160}}, FlushChain{"gate"}}},
      {"table_old_kernel", kMiddleKernel, {ReplaceTable{}}},
      {"rules",
       kNewKernel,
       {AddRule{loads}, AddRule{decisions}, AddRule{{"gate", {Goto{"admit"}}}},
        AddRule{{"gate", {Accept{}}}}, AddRule{{"gate", {Drop{}}}}}},
      {"sets",
       kNewKernel,
       {AddSet{kKeep32}, AddSet{kCut64}, DeleteSet{kKeep32},
        AddConstantSet{
            "guarded", 8, 12 << 6 | 13, {{6, 0, 0, 0, 0, 22, 0, 0}, {17, 0, 0, 0, 0, 22, 0, 0}}},
        AddConstantSet{"older4", 16, 7 << 18 | 13 << 12 | 7 << 6 | 13, {}}}},
      // The second one's end has passed.
      {"timed_sets",
       kNewKernel,
       {AddTimedSet{"armed", 1, 2, {{2}, {10}}, At(1600)},
        AddTimedSet{"armed", 1, 2, {{2}, {10}}, At(900)}}},
      {"grant_new_kernel", kNewKernel, {put, put6}},
      {"grant_middle_kernel", kMiddleKernel, {put}},
      {"grant_old_kernel", kOldKernel, {put, put6}},
      {"end_new_kernel", kNewKernel, {remove}},
      {"end_old_kernel", kOldKernel, {remove}},
      // Several elements share a message; a passed end becomes a removal.
      {"several_elements",
       kNewKernel,
       {put, PutElement{kKeep32, Key("203.0.113.8", 22), At(1900)},
        PutElement{kKeep32, Key("203.0.113.9", 22), At(1000)}, remove}},
      // The second change of a key cannot share the messages of the first.
      {"one_key_twice_old_kernel",
       kOldKernel,
       {put, PutElement{kKeep32, Key("203.0.113.7", 22), At(1900)}}},
  };
}

class NftBatchTest : public testing::TestWithParam<GoldenCase> {};

TEST_P(NftBatchTest, IsAsRecorded) {
  const GoldenCase& golden = GetParam();
  nft::Batch batch;
  ASSERT_EQ(nft::Encode(golden.transaction, golden.kernel, kClock, kFirstSequence, batch),
            absl::OkStatus());
  const std::string dump = Dump(batch);
  const std::string path = absl::StrCat(POSTERN_GOLDEN_DATA, "/", golden.name, ".txt");
  if (std::getenv("POSTERN_GOLDEN_UPDATE") != nullptr) std::ofstream(path) << dump;
  EXPECT_EQ(dump, ReadText(path)) << path << "; set POSTERN_GOLDEN_UPDATE=1 to write it anew";
}

INSTANTIATE_TEST_SUITE_P(Recorded, NftBatchTest, testing::ValuesIn(Cases()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(NftBatchTest, ReusedMemoryLeavesNoTrace) {
  for (const GoldenCase& golden : Cases()) {
    nft::Batch fresh;
    nft::Batch used;
    const Transaction noise(500,
                            PutElement{kCut64, Key("ffff:ffff:ffff:ffff::/64", 65535), At(1e9)});
    ASSERT_EQ(nft::Encode(noise, kOldKernel, kClock, 1, used), absl::OkStatus());
    ASSERT_EQ(nft::Encode(golden.transaction, golden.kernel, kClock, kFirstSequence, used),
              absl::OkStatus());
    ASSERT_EQ(nft::Encode(golden.transaction, golden.kernel, kClock, kFirstSequence, fresh),
              absl::OkStatus());
    EXPECT_EQ(Dump(fresh), Dump(used)) << golden.name;
  }
}

TEST(NftBatchTest, AnEmptyTransactionHasNoMessages) {
  nft::Batch batch;
  ASSERT_EQ(nft::Encode({}, kNewKernel, kClock, kFirstSequence, batch), absl::OkStatus());
  EXPECT_TRUE(batch.empty());
}

// An error is about an element of a message; the offset says which.
TEST(NftBatchTest, AnOffsetNamesTheOperation) {
  Transaction transaction = {AddSet{kKeep32}};
  for (uint16_t port = 1; port <= 3000; ++port) {
    transaction.emplace_back(PutElement{kKeep32, Key("203.0.113.7", port), At(4600)});
  }
  nft::Batch batch;
  ASSERT_EQ(nft::Encode(transaction, kNewKernel, kClock, kFirstSequence, batch), absl::OkStatus());
  EXPECT_EQ(batch.OperationOf(kFirstSequence + 1, 0), 0U);
  size_t expected = 1;
  const absl::string_view bytes = batch.bytes();
  auto left = static_cast<int>(bytes.size());
  for (const nlmsghdr* message = nft::MessageAt(bytes.data()); mnl_nlmsg_ok(message, left);
       message = mnl_nlmsg_next(message, &left)) {
    if (NFNL_MSG_TYPE(message->nlmsg_type) != NFT_MSG_NEWSETELEM) continue;
    const auto* list = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, 4));
    while (mnl_attr_get_type(list) != NFTA_SET_ELEM_LIST_ELEMENTS) list = mnl_attr_next(list);
    EXPECT_EQ(batch.OperationOf(message->nlmsg_seq, 0), expected);
    const auto* start = static_cast<const char*>(static_cast<const void*>(message));
    const auto* element = static_cast<const char*>(mnl_attr_get_payload(list));
    const char* end = element + mnl_attr_get_payload_len(list);
    while (element < end) {
      EXPECT_EQ(batch.OperationOf(message->nlmsg_seq, static_cast<size_t>(element - start)),
                expected++);
      element += static_cast<const nlattr*>(static_cast<const void*>(element))->nla_len;
    }
  }
  EXPECT_EQ(expected, transaction.size());
}

TEST(NftBatchTest, WhatNoKernelTakesIsRefused) {
  const std::string long_name(300, 'x');
  const Transaction refused[] = {
      {AddChain{long_name, std::nullopt}},
      {AddCounter{long_name}},
      {AddRule{{"gate", {Jump{long_name}}}}},
      {AddRule{{"gate", {Lookup{long_name}}}}},
      {AddRule{{"gate", {Mask{0, Bytes(17, 0)}}}}},
      {AddRule{{"gate", std::vector<Expression>(128, Accept{})}}},
      {AddRule{{"gate", std::vector<Expression>(64, SetCutLabel{})}}},
      {AddConstantSet{"s", 65, 0, {}}},
      {AddConstantSet{"s", 4, 0, {Bytes(5, 0)}}},
      {AddTimedSet{"s", 4, 0, {Bytes(5, 0)}, At(4600)}},
  };
  for (const Transaction& transaction : refused) {
    nft::Batch batch;
    const absl::Status status = nft::Encode(transaction, kNewKernel, kClock, kFirstSequence, batch);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << Describe(transaction.front());
  }
}

}  // namespace
}  // namespace postern

// The firewall against the kernel that runs the test: the table, and refusals.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/firewall/builder.h"
#include "agent/firewall/nft/batch.h"
#include "agent/firewall/nft/encode.h"
#include "agent/firewall/nft/socket.h"
#include "tests/kernel/nft_fixture.h"

namespace postern {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST_F(NftFirewallTest, TheTrialOfTheKernelLeavesNothingBehind) {
  EXPECT_TRUE(firewall_->capabilities().destroys_elements ||
              !firewall_->capabilities().updates_in_place);
  EXPECT_EQ(*firewall_->HasTable(), false);
}

TEST_F(NftFirewallTest, TheTableIsReplacedWhateverItHeld) {
  Commit({ReplaceTable{}});
  EXPECT_EQ(*firewall_->HasTable(), true);
  Commit({AddSet{kKeep32}, AddChain{"gate", BaseHook{Hook::kPrerouting, -160}}});
  Put(kAlice, absl::Hours(1));
  EXPECT_THAT(firewall_->ReadSets().value(), UnorderedElementsAre(kKeep32));
  Commit({ReplaceTable{}, AddSet{kKeep24}});
  EXPECT_THAT(firewall_->ReadSets().value(), UnorderedElementsAre(kKeep24));
  EXPECT_EQ(firewall_->ReadElements(kKeep32).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(NftFirewallTest, WithoutATableThereIsNothingToRead) {
  EXPECT_EQ(*firewall_->HasTable(), false);
  EXPECT_THAT(firewall_->ReadSets().value(), IsEmpty());
  EXPECT_THAT(firewall_->ReadOlderFlows().value(), IsEmpty());
  EXPECT_EQ(Read(kAlice), std::nullopt);
  const absl::Status status = firewall_->ReadCounter("dropped").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("read counter dropped: No such file or directory"));
}

TEST_F(NftFirewallTest, AnEmptyTransactionSucceeds) { Commit({}); }

TEST_F(NftFirewallTest, OlderFlowsAreReadBack) {
  const std::vector<Flow> flows = {{A("203.0.113.7"), 50000, A("192.0.2.1"), 22},
                                   {A("203.0.113.7"), 50001, A("192.0.2.1"), 3389},
                                   {A("2001:db8::7"), 50000, A("2001:db8::1"), 22}};
  Commit(BuildTable(GateOptions(), {}, flows));
  EXPECT_THAT(firewall_->ReadOlderFlows().value(), testing::UnorderedElementsAreArray(flows));
}

TEST_F(NftFirewallTest, TheWholeGateIsTaken) {
  const GateOptions options = {.ports = {22, 3389, 5985, 5986},
                               .trusted_interfaces = {"lo"},
                               .always_allow = {P("192.0.2.0/24"), P("2001:db8::/32")},
                               .own_port = OwnPort{7443, {P("192.0.2.0/24")}}};
  Commit(BuildTable(options, {kKeep32}, {}));
  EXPECT_THAT(firewall_->ReadSets().value(), UnorderedElementsAre(kKeep32));
  SetChange change = ChangeSets(options, {kKeep32}, {kKeep24, kCut64});
  Transaction all = change.before_elements;
  all.emplace_back(PutElement{kCut64, Key("2001:db8:1::/64", 22), In(absl::Hours(1))});
  all.insert(all.end(), change.after_elements.begin(), change.after_elements.end());
  Commit(all);
  EXPECT_THAT(firewall_->ReadSets().value(), UnorderedElementsAre(kKeep24, kCut64));
  EXPECT_THAT(KeysIn(kCut64), UnorderedElementsAre(Key("2001:db8:1::/64", 22)));
  // nft(8) ends with a signal on some of what the kernel takes; so would the
  // service that loads the host's own rules.
  EXPECT_EQ(network_->Program({"nft", "list", "ruleset"}), absl::OkStatus());
}

// Of the elements in one message, the kernel says which it refuses.
TEST_F(NftFirewallTest, ARefusalNamesTheElement) {
  // The socket below is another one: it may not change a table that is protected.
  nft::Capabilities capabilities = firewall_->capabilities();
  capabilities.protects_tables = false;
  Open(capabilities);
  Commit({ReplaceTable{}, AddSet{kKeep32}});
  Put(kAlice, absl::Hours(1));
  std::unique_ptr<nft::Socket> socket;
  network_->Run([&] { socket = *nft::Socket::Open(); });
  // Adding does not fail for one element alone, but deleting does.
  const Transaction transaction = {PutElement{kKeep32, kAlice, In(absl::Hours(1))},
                                   PutElement{kKeep32, kBob, In(absl::Hours(1))}};
  // One message, also where the kernel would want two for an element that may be there.
  capabilities.updates_in_place = true;
  nft::Batch batch;
  ASSERT_EQ(nft::Encode(transaction, capabilities, nft::ReadTimeoutClock(),
                        socket->TakeSequences(3), batch),
            absl::OkStatus());
  ASSERT_EQ(batch.size(), 1U);
  const nlmsghdr* begin = nft::MessageAt(batch.bytes().data());
  const nlmsghdr* message = nft::MessageAt(batch.bytes().data() + begin->nlmsg_len);
  const_cast<nlmsghdr*>(message)->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM;
  const auto refused = socket->Transact(batch);
  ASSERT_TRUE(refused.ok()) << refused.status();
  ASSERT_TRUE(refused->has_value());
  EXPECT_EQ((*refused)->number, ENOENT);
  EXPECT_EQ(batch.OperationOf((*refused)->sequence, (*refused)->offset), 1U);
}

TEST_F(NftFirewallTest, ThousandsOfRefusalsAreOneError) {
  Commit({ReplaceTable{}});
  Transaction transaction;
  for (int i = 0; i < 5000; ++i) transaction.emplace_back(FlushChain{absl::StrCat("c", i)});
  const absl::Status status = firewall_->Commit(transaction);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("flush chain c0: "));
  Commit({AddSet{kKeep32}});
}

TEST_F(NftFirewallTest, WithoutTheCapabilityThePermissionIsMissing) {
  absl::Status opened;
  network_->Run([&] {
    // Those of this thread alone, which ends with this.
    __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    ASSERT_EQ(syscall(SYS_capset, &header, none), 0);
    opened = NftFirewall::Open().status();
  });
  EXPECT_EQ(opened.code(), absl::StatusCode::kPermissionDenied) << opened;
}

}  // namespace
}  // namespace postern

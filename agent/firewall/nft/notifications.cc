#include "agent/firewall/nft/notifications.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/firewall/nft/attributes.h"
#include "agent/firewall/nft/batch.h"
#include "agent/firewall/ruleset.h"
#include "common/text.h"

namespace postern::nft {
namespace {

// As much of a foreign name as is told.
constexpr size_t kMaxName = 64;

// The table is the first attribute of every object's message (NFTA_TABLE_NAME,
// NFTA_CHAIN_TABLE, NFTA_RULE_TABLE and so on).
constexpr uint16_t kTableAttribute = 1;

absl::string_view Text(const nlmsghdr& message, uint16_t type) {
  absl::string_view text;
  ForEachAttributeOf(message, sizeof(nfgenmsg), [&](const nlattr& attribute) {
    if (mnl_attr_get_type(&attribute) != type) return;
    const absl::string_view all(mnl_attr_get_str(&attribute), mnl_attr_get_payload_len(&attribute));
    text = all.substr(0, all.find('\0'));
  });
  return text;
}

std::string Name(const nlmsghdr& message, uint16_t type) {
  const absl::string_view text = Text(message, type);
  return Printable(text.substr(0, kMaxName));
}

std::string InWords(const nlmsghdr& message) {
  switch (NFNL_MSG_TYPE(message.nlmsg_type)) {
    case NFT_MSG_NEWTABLE:
      return "table added or changed";
    case NFT_MSG_DELTABLE:
      return "table deleted";
    case NFT_MSG_NEWCHAIN:
      return absl::StrCat("chain ", Name(message, NFTA_CHAIN_NAME), " added or changed");
    case NFT_MSG_DELCHAIN:
      return absl::StrCat("chain ", Name(message, NFTA_CHAIN_NAME), " deleted");
    case NFT_MSG_NEWRULE:
      return absl::StrCat("rule added to chain ", Name(message, NFTA_RULE_CHAIN));
    case NFT_MSG_DELRULE:
      return absl::StrCat("rule deleted from chain ", Name(message, NFTA_RULE_CHAIN));
    case NFT_MSG_NEWSET:
      return absl::StrCat("set ", Name(message, NFTA_SET_NAME), " added or changed");
    case NFT_MSG_DELSET:
      return absl::StrCat("set ", Name(message, NFTA_SET_NAME), " deleted");
    case NFT_MSG_NEWSETELEM:
      return absl::StrCat("element added to set ", Name(message, NFTA_SET_ELEM_LIST_SET));
    case NFT_MSG_DELSETELEM:
      return absl::StrCat("element removed from set ", Name(message, NFTA_SET_ELEM_LIST_SET));
    case NFT_MSG_NEWOBJ:
      return absl::StrCat("object ", Name(message, NFTA_OBJ_NAME), " added or changed");
    case NFT_MSG_DELOBJ:
      return absl::StrCat("object ", Name(message, NFTA_OBJ_NAME), " deleted");
    case NFT_MSG_NEWFLOWTABLE:
      return absl::StrCat("flowtable ", Name(message, NFTA_FLOWTABLE_NAME), " added or changed");
    case NFT_MSG_DELFLOWTABLE:
      return absl::StrCat("flowtable ", Name(message, NFTA_FLOWTABLE_NAME), " deleted");
    default:
      return "something unknown changed";
  }
}

// Elements of the sets of refused sources are no part of what the gate admits.
bool IsAboutDenied(const nlmsghdr& message) {
  const auto type = NFNL_MSG_TYPE(message.nlmsg_type);
  if (type != NFT_MSG_NEWSETELEM && type != NFT_MSG_DELSETELEM) return false;
  const absl::string_view set = Text(message, NFTA_SET_ELEM_LIST_SET);
  for (const bool enforce : {true, false}) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      if (set == DeniedSetName(family, enforce)) return true;
    }
  }
  return false;
}

// "nft (pid 4711)"; empty where the kernel does not tell.
std::string ProcessOf(const nlmsghdr& generation) {
  std::string process = Name(generation, NFTA_GEN_PROC_NAME);
  ForEachAttributeOf(generation, sizeof(nfgenmsg), [&](const nlattr& attribute) {
    if (mnl_attr_get_type(&attribute) == NFTA_GEN_PROC_PID &&
        mnl_attr_validate(&attribute, MNL_TYPE_U32) >= 0) {
      absl::StrAppend(&process, process.empty() ? "" : " ", "(pid ",
                      ntohl(mnl_attr_get_u32(&attribute)), ")");
    }
  });
  return process;
}

}  // namespace

void Notifications::Take(absl::string_view datagram) {
  auto left = static_cast<int>(datagram.size());
  for (const nlmsghdr* message = MessageAt(datagram.data()); IsWhole(message, left);
       message = mnl_nlmsg_next(message, &left)) {
    TakeMessage(*message);
  }
}

void Notifications::TakeMessage(const nlmsghdr& message) {
  if (NFNL_SUBSYS_ID(message.nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
      mnl_nlmsg_get_payload_len(&message) < sizeof(nfgenmsg) || message.nlmsg_pid == own_port_) {
    return;
  }
  if (NFNL_MSG_TYPE(message.nlmsg_type) == NFT_MSG_NEWGEN) {
    if (!std::exchange(awaits_name_, false)) return;
    std::string process = ProcessOf(message);
    if (!process.empty()) change_.AddWho(std::move(process));
    return;
  }
  const auto* header = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(&message));
  if (header->nfgen_family != NFPROTO_INET || Text(message, kTableAttribute) != kTableName) return;
  if (IsAboutDenied(message)) return;
  awaits_name_ = true;
  if (NFNL_MSG_TYPE(message.nlmsg_type) == NFT_MSG_DELTABLE) {
    // Everything in it was announced as deleted before, which says no more.
    change_.what.clear();
    change_.more = false;
  }
  change_.AddWhat(InWords(message));
}

void Notifications::TakeLoss() { change_.lost = true; }

TableChange Notifications::Finish() {
  awaits_name_ = false;
  return std::exchange(change_, TableChange());
}

}  // namespace postern::nft

#include "agent/doctor/naming.h"

#include <linux/netfilter.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/text.h"

namespace postern {

std::string FamilyWord(uint8_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_NETDEV:
      return "netdev";
    case NFPROTO_ARP:
      return "arp";
    case NFPROTO_BRIDGE:
      return "bridge";
    default:
      return absl::StrCat("family ", family);
  }
}

std::string NameTable(const nft::ForeignTable& table) {
  return absl::StrCat("table ", FamilyWord(table.family), " ", Printable(table.name));
}

std::string NamePlace(const nft::ForeignTable& table, const Place& place) {
  const std::string chain =
      absl::StrCat("chain ", Printable(place.chain->name), " (", NameTable(table), ")");
  if (place.rule == nullptr) return absl::StrCat("the policy of ", chain);
  return absl::StrCat("rule ", place.rule->handle, " of ", chain);
}

std::string ShowCommand(const nft::ForeignTable& table, const Place& place) {
  return absl::StrCat("`nft -a list chain ", FamilyWord(table.family), " ", Printable(table.name),
                      " ", Printable(place.chain->name), "`");
}

std::string JoinWords(const std::vector<std::string>& words) {
  std::string joined;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) absl::StrAppend(&joined, i + 1 == words.size() ? " and " : ", ");
    absl::StrAppend(&joined, words[i]);
  }
  return joined;
}

std::string NamePorts(const std::set<uint16_t>& ports) {
  std::vector<std::string> words;
  for (const uint16_t port : ports) words.push_back(absl::StrCat(port));
  return absl::StrCat(words.size() == 1 ? "port " : "ports ", JoinWords(words));
}

bool IsUfw(const nft::ForeignChain& chain) {
  return absl::StartsWith(chain.name, "ufw-") || absl::StartsWith(chain.name, "ufw6-");
}

const char* ContainerEngine(const nft::ForeignTable& table, const nft::ForeignChain& chain) {
  constexpr std::pair<absl::string_view, const char*> kPrefixes[] = {
      {"DOCKER", "Docker"},
      {"NETAVARK", "Podman (netavark)"},
      {"CNI-", "CNI"},
      {"KUBE-", "Kubernetes"},
      {"cali-", "Calico"}};
  if (table.name == "netavark") return "Podman (netavark)";
  if (absl::StartsWith(table.name, "docker-")) return "Docker";
  for (const auto& [prefix, engine] : kPrefixes) {
    if (absl::StartsWith(chain.name, prefix)) return engine;
  }
  return nullptr;
}

Maker MakerOf(const nft::ForeignTable& table, const nft::ForeignChain& chain) {
  if (table.name == "firewalld") return Maker::kFirewalld;
  if (ContainerEngine(table, chain) != nullptr) return Maker::kContainers;
  // ufw sets the policies of chains that are not called after it.
  const bool has_ufw = std::any_of(table.chains.begin(), table.chains.end(), IsUfw);
  return has_ufw ? Maker::kUfw : Maker::kUnknown;
}

}  // namespace postern

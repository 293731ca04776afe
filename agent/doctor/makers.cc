#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "agent/doctor/foreign_findings.h"
#include "agent/doctor/naming.h"
#include "common/text.h"

namespace postern {
namespace {

// The zones that have chains: filter_IN_ZONE, beside filter_IN_ZONE_allow and so
// on.
std::vector<std::string> ZonesOf(const nft::ForeignTable& table) {
  std::set<std::string> zones;
  for (const nft::ForeignChain& chain : table.chains) {
    absl::string_view name = chain.name;
    if (!absl::ConsumePrefix(&name, "filter_IN_")) continue;
    if (!absl::ConsumeSuffix(&name, "_allow") || absl::StartsWith(name, "policy_")) continue;
    zones.insert(Printable(name));
  }
  return {zones.begin(), zones.end()};
}

void AddFirewalld(const nft::ForeignTable& table, std::vector<Finding>& findings) {
  const std::vector<std::string> zones = ZonesOf(table);
  findings.push_back(
      {.severity = Severity::kNotice,
       .name = "firewalld",
       .finding = absl::StrCat(
           "firewalld is active (", NameTable(table), ")",
           zones.empty()
               ? ""
               : absl::StrCat(", with zone", zones.size() == 1 ? " " : "s ", JoinWords(zones)),
           "."),
       .consequence =
           "A port must be open in firewalld's zone as well for a grant to open it; what "
           "firewalld drops of guarded ports is told as foreign-drop.",
       .remedy = "Open the guarded ports in the zones through which they are to be reached "
                 "(`firewall-cmd --permanent --add-port=22/tcp`): the gate closes them to all "
                 "without a grant."});
}

}  // namespace

void AddMakers(const HostFacts& facts, std::vector<Finding>& findings) {
  std::set<std::string> engines;
  const nft::ForeignTable* ufw = nullptr;
  for (const nft::ForeignTable& table : facts.ruleset.tables) {
    if (table.dormant) continue;
    if (table.name == "firewalld") AddFirewalld(table, findings);
    for (const nft::ForeignChain& chain : table.chains) {
      if (ufw == nullptr && IsUfw(chain)) ufw = &table;
      if (const char* engine = ContainerEngine(table, chain)) engines.insert(engine);
    }
  }
  if (ufw != nullptr) {
    findings.push_back(
        {.severity = Severity::kNotice,
         .name = "ufw",
         .finding = absl::StrCat("ufw is active (", NameTable(*ufw), ")."),
         .consequence = "A port must be allowed in ufw as well for a grant to open it; what ufw "
                        "drops of guarded ports is told as foreign-drop.",
         .remedy = "Allow the guarded ports in ufw (`ufw allow 22/tcp`): the gate closes them to "
                   "all without a grant."});
  }
  for (const std::string& engine : engines) {
    findings.push_back(
        {.severity = Severity::kNotice,
         .name = "container-engine",
         .finding = absl::StrCat(engine, " has rules on this host."),
         .consequence = "The ports that it publishes are ports of this host: guarded ones are "
                        "behind the gate, all others are open as before.",
         .remedy = "Nothing, unless a container is to open by grants only: then add the port it "
                   "is published at to guard.ports in agent.yaml."});
  }
}

}  // namespace postern

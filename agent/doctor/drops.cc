#include <linux/in.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/doctor/foreign_findings.h"
#include "agent/doctor/naming.h"

namespace postern {
namespace {

// How much of a port's traffic a chain stops.
enum class Extent : uint8_t {
  // All of it.
  kAll,
  // What the rules before have not let through.
  kRest,
  // What more is asked of it than the port.
  kSome,
};

// Where packets end, and what it costs them.
struct Stop {
  const nft::ForeignTable* table = nullptr;
  Place place = {};
  nft::Verdict verdict = nft::Verdict::kDrop;
  Extent extent = Extent::kAll;
  bool served = false;
  auto Key() const { return std::tuple(table, place.chain, place.rule, verdict, extent, served); }
};

struct Victims {
  Stop stop = {};
  std::set<uint16_t> ports = {};
  std::set<Family> families = {};
  std::set<uint8_t> protocols = {};
};

class Drops {
 public:
  Drops(const HostFacts& facts, const Guard& guard, const std::vector<Published>& published)
      : facts_(facts), guard_(guard), published_(published) {}

  void Find() {
    for (const Family family : kFamilies) {
      if (family == Family::kIpv6 && !facts_.ipv6_enabled) continue;
      for (const uint16_t port : guard_.ports) {
        FollowIn(family, IPPROTO_TCP, port);
        if (Serves(Protocol::kUdp, port)) FollowIn(family, IPPROTO_UDP, port);
      }
    }
    for (const Published& one : published_) FollowThrough(one);
  }

  const std::vector<Victims>& victims() const { return victims_; }

 private:
  bool Serves(Protocol protocol, uint16_t port) const {
    return std::any_of(facts_.listeners.begin(), facts_.listeners.end(),
                       [&](const Listener& listener) {
                         return listener.protocol == protocol && listener.port == port;
                       });
  }

  bool IsPublished(Family family, uint16_t port) const {
    return std::any_of(published_.begin(), published_.end(), [&](const Published& one) {
      return one.family == family && one.port == port && !one.conditional;
    });
  }

  // A packet for this host.
  void FollowIn(Family family, uint8_t protocol, uint16_t port) {
    const Probe probe = NewConnection(family, protocol, port);
    const bool published = IsPublished(family, port);
    const bool served = published || Serves(static_cast<Protocol>(protocol), port);
    for (const HookPoint hook : {HookPoint::kIngress, HookPoint::kPrerouting, HookPoint::kInput}) {
      // What is led away does not come in.
      if (hook == HookPoint::kInput && published) continue;
      Follow(family, hook, probe, port, served);
    }
  }

  // A packet for a published port, on its way to where that leads.
  void FollowThrough(const Published& one) {
    if (one.conditional || !one.to_address || facts_.local.Contains(*one.to_address)) return;
    Probe probe = NewConnection(one.family, IPPROTO_TCP, one.to_port);
    probe.status = IPS_DST_NAT | IPS_DST_NAT_DONE;
    probe.destination_type = RTN_UNICAST;
    Follow(one.family, HookPoint::kForward, probe, one.port, /*served=*/true);
  }

  void Follow(Family family, HookPoint hook, const Probe& probe, uint16_t port, bool served) {
    ForEachChain(facts_.ruleset, family, hook,
                 [&](const nft::ForeignTable& table, const nft::ForeignChain& chain) {
                   if (chain.hook->type == "nat") return;
                   const Fate fate = Walk(table, chain, probe);
                   if (fate.drops.empty()) return;
                   Add({.table = &table, .served = served}, fate, family, probe, port);
                 });
  }

  void Add(Stop stop, const Fate& fate, Family family, const Probe& probe, uint16_t port) {
    // The one that stops most.
    const DropAt& worst = *std::min_element(
        fate.drops.begin(), fate.drops.end(),
        [](const DropAt& a, const DropAt& b) { return !a.conditional && b.conditional; });
    stop.place = worst.place;
    stop.verdict = worst.verdict;
    stop.extent = !fate.may_pass ? Extent::kAll : worst.conditional ? Extent::kSome : Extent::kRest;
    // One finding for a list of blocked addresses, whoever listens.
    stop.served = stop.served || stop.extent == Extent::kSome;
    auto found = std::find_if(victims_.begin(), victims_.end(), [&](const Victims& victims) {
      return victims.stop.Key() == stop.Key();
    });
    if (found == victims_.end()) {
      found = victims_.insert(victims_.end(), Victims{.stop = stop});
    }
    found->ports.insert(port);
    found->families.insert(family);
    found->protocols.insert(static_cast<uint8_t>(*probe.protocol));
  }

  const HostFacts& facts_;
  const Guard& guard_;
  const std::vector<Published>& published_;
  std::vector<Victims> victims_;
};

std::string WhatItDoes(const Stop& stop) {
  switch (stop.verdict) {
    case nft::Verdict::kReject:
      return "rejects";
    case nft::Verdict::kQueue:
      return "hands to another program, which may drop them,";
    default:
      return "drops";
  }
}

std::string WhichPackets(const Victims& victims) {
  std::string text;
  if (victims.families.size() == 1) {
    absl::StrAppend(&text, *victims.families.begin() == Family::kIpv4 ? "IPv4 " : "IPv6 ");
  }
  if (victims.protocols.size() == 1) {
    absl::StrAppend(&text, *victims.protocols.begin() == IPPROTO_TCP ? "TCP " : "UDP ");
  }
  absl::StrAppend(&text, "packets for ", NamePorts(victims.ports));
  switch (victims.stop.extent) {
    case Extent::kAll:
      return text;
    case Extent::kRest:
      return absl::StrCat(text, " that the rules before it do not accept");
    case Extent::kSome:
      return absl::StrCat("some ", text);
  }
  return text;
}

Severity SeverityOf(const Stop& stop) {
  if (!stop.served || stop.extent == Extent::kSome) return Severity::kNotice;
  return stop.extent == Extent::kAll ? Severity::kCritical : Severity::kWarning;
}

// firewalld's check of the way back, its only rule at prerouting that drops.
bool IsReversePathCheck(const Stop& stop) {
  return stop.extent == Extent::kSome &&
         MakerOf(*stop.table, *stop.place.chain) == Maker::kFirewalld &&
         HookOf(*stop.table, *stop.place.chain) == HookPoint::kPrerouting;
}

std::string Remedy(const Victims& victims) {
  const Stop& stop = victims.stop;
  const std::string port = absl::StrCat(*victims.ports.begin());
  const std::string protocol = victims.protocols.contains(IPPROTO_TCP) ? "tcp" : "udp";
  const std::string look =
      absl::StrCat("; look at it with ", ShowCommand(*stop.table, stop.place), ".");
  if (IsReversePathCheck(stop)) {
    return absl::StrCat(
        "Nothing, where the answers leave by the interface that the packets come by; otherwise "
        "set `IPv6_rpfilter=no` in /etc/firewalld/firewalld.conf and `systemctl restart "
        "firewalld`",
        look);
  }
  const std::string gate = " The gate goes on keeping the port closed to all without a grant";
  switch (MakerOf(*stop.table, *stop.place.chain)) {
    case Maker::kFirewalld:
      return absl::StrCat(
          "Open the port in firewalld's zone (`firewall-cmd --permanent --add-port=", port, "/",
          protocol, "`, then `firewall-cmd --reload`).", gate, look);
    case Maker::kUfw:
      return absl::StrCat("Allow the port in ufw (`ufw allow ", port, "/", protocol, "`).", gate,
                          look);
    case Maker::kContainers:
    case Maker::kUnknown:
      break;
  }
  if (stop.extent == Extent::kSome) {
    return absl::StrCat("Nothing, if it is meant to be so (a list of blocked addresses)", look);
  }
  if (stop.place.rule == nullptr) {
    return absl::StrCat("Add a rule to that chain that accepts the port (`", protocol, " dport ",
                        port, " accept`).", gate, look);
  }
  return absl::StrCat("Remove that rule, or put one before it that accepts the port (`", protocol,
                      " dport ", port, " accept`).", gate, look);
}

std::string Consequence(const Victims& victims) {
  std::string never =
      "Each table decides for itself, and an accept in ours does not override a drop in another";
  if (!victims.stop.served) {
    return absl::StrCat(never,
                        ". Nothing serves the port now; if something will, grants for it "
                        "would open nothing.");
  }
  switch (victims.stop.extent) {
    case Extent::kAll:
      return absl::StrCat(never, ": a grant for the port opens nothing.");
    case Extent::kRest:
      return absl::StrCat(never,
                          ": a grant opens nothing for a source that those rules leave out.");
    case Extent::kSome:
      return absl::StrCat(never, ": a grant may open nothing for some sources.");
  }
  return never;
}

}  // namespace

void AddDrops(const HostFacts& facts, const Guard& guard, const std::vector<Published>& published,
              std::vector<Finding>& findings) {
  Drops drops(facts, guard, published);
  drops.Find();
  for (const Victims& victims : drops.victims()) {
    const Stop& stop = victims.stop;
    findings.push_back({.severity = SeverityOf(stop),
                        .name = "foreign-drop",
                        .finding = absl::StrCat(NamePlace(*stop.table, stop.place), " ",
                                                WhatItDoes(stop), " ", WhichPackets(victims), "."),
                        .consequence = Consequence(victims),
                        .remedy = Remedy(victims)});
  }
}

}  // namespace postern

// What the doctor looks at: the host as plain values.

#ifndef POSTERN_AGENT_DOCTOR_FACTS_H_
#define POSTERN_AGENT_DOCTOR_FACTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/firewall/nft/foreign.h"
#include "agent/grants/grant.h"
#include "agent/sessions/matching.h"
#include "common/prefix.h"

namespace postern {

// A socket that takes connections (TCP) or datagrams from anybody (UDP).
struct Listener {
  Protocol protocol = Protocol::kTcp;
  // All zeros: every address of the family (and, of IPv6, usually IPv4 too).
  Address address = {};
  uint16_t port = 0;
  // "sshd (process 812)"; empty where it cannot be told.
  std::string process = {};
};

struct HostFacts {
  nft::ForeignRuleset ruleset = {};
  // On guarded ports.
  std::vector<Listener> listeners = {};
  // The addresses of this host.
  PrefixIndex local = {};
  // The tables of xtables (iptables-legacy) that exist: "filter", "nat".
  std::vector<std::string> legacy_ipv4_tables = {};
  std::vector<std::string> legacy_ipv6_tables = {};
  bool ipv6_enabled = true;
  // Of connection tracking; empty where it is not loaded.
  std::optional<uint64_t> tracked = std::nullopt;
  std::optional<uint64_t> tracked_at_most = std::nullopt;
  std::optional<bool> tracks_midstream = std::nullopt;
  bool destroys_sockets = true;
  // What could not be read, and why, one sentence each.
  std::vector<std::string> unread = {};
  // The names of iptables-legacy's tables could not be read: root alone may.
  bool legacy_tables_unread = false;
};

// Reads the calling thread's network namespace; `ports` are the guarded ones.
// Blocks for milliseconds, on a kernel that does not answer for seconds. What
// cannot be read is in `unread`. Any thread.
HostFacts ReadHost(const std::vector<uint16_t>& ports);

}  // namespace postern

#endif  // POSTERN_AGENT_DOCTOR_FACTS_H_

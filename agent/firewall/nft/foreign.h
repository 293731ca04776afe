// The rulesets of other programs, as far as what they do to a packet for a port
// of this host can be told from them. Plain values, and the reader that gets them
// from the kernel.

#ifndef POSTERN_AGENT_FIREWALL_NFT_FOREIGN_H_
#define POSTERN_AGENT_FIREWALL_NFT_FOREIGN_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/prefix.h"

namespace postern::nft {

class Socket;

// What a rule looks at. Numbers are in host order.
enum class Field : uint8_t {
  // Anything that is not below: addresses, marks, limits, concatenations.
  kOther,
  // NFPROTO_*.
  kFamily,
  // IPPROTO_*.
  kProtocol,
  kSourcePort,
  kDestinationPort,
  // Bits as NF_CT_STATE_BIT counts them.
  kConntrackState,
  // IPS_*.
  kConntrackStatus,
  // 1 where the packet came in through loopback, otherwise 0.
  kFromLoopback,
  // RTN_*, of the destination.
  kDestinationType,
};

// Both ends are in it.
struct Range {
  uint32_t low = 0;
  uint32_t high = std::numeric_limits<uint32_t>::max();
  friend bool operator==(const Range&, const Range&) = default;
};

// The rule goes on where `field & mask` is in one of `ranges` (in `set`, where
// that has a name), or where it is not, when `negated`.
struct Condition {
  Field field = Field::kOther;
  uint32_t mask = std::numeric_limits<uint32_t>::max();
  bool negated = false;
  std::vector<Range> ranges = {};
  std::string set = {};
  friend bool operator==(const Condition&, const Condition&) = default;
};

enum class Verdict : uint8_t { kNone, kAccept, kDrop, kReject, kJump, kGoto, kReturn, kQueue };

struct Decision {
  Verdict verdict = Verdict::kNone;
  // The chain of a jump or goto.
  std::string chain = {};
  friend bool operator==(const Decision&, const Decision&) = default;
};

// What a rule does to a packet besides deciding.
enum class EffectKind : uint8_t {
  // Destination NAT, to `address` and `port` where they are known.
  kTranslate,
  // Destination NAT to this host, at `port` or at the port it was sent to.
  kRedirect,
  // Connection tracking is told to leave it alone.
  kUntrack,
  // Connection tracking looks in another zone.
  kZone,
  // The flow goes around the hooks from now on; `object` is the flowtable.
  kOffload,
  // The header is written over, without connection tracking.
  kWritePort,
  kWriteAddress,
};

struct Effect {
  EffectKind kind = EffectKind::kTranslate;
  std::optional<Address> address = std::nullopt;
  std::optional<uint16_t> port = std::nullopt;
  std::string object = {};
  friend bool operator==(const Effect&, const Effect&) = default;
};

// The conditions come before the effects, and those before the decision.
struct ForeignRule {
  uint64_t handle = 0;
  std::vector<Condition> conditions = {};
  std::vector<Effect> effects = {};
  Decision decision = {};
  // Where this has a name, the decision is what that map holds for the field.
  Field map_field = Field::kOther;
  std::string map = {};
  friend bool operator==(const ForeignRule&, const ForeignRule&) = default;
};

struct ForeignHook {
  // NF_INET_*, or NF_NETDEV_* in family netdev.
  uint32_t number = 0;
  int32_t priority = 0;
  // "filter", "nat", "route".
  std::string type = {};
  friend bool operator==(const ForeignHook&, const ForeignHook&) = default;
};

struct ForeignChain {
  std::string name = {};
  // Empty: a chain that is only jumped to.
  std::optional<ForeignHook> hook = std::nullopt;
  // What becomes of a packet that no rule has decided about.
  bool drops_by_default = false;
  std::vector<ForeignRule> rules = {};
};

// One element of a set or a map.
struct ForeignElement {
  Range range;
  Decision decision = {};
  friend bool operator==(const ForeignElement&, const ForeignElement&) = default;
};

struct ForeignSet {
  std::string name = {};
  // False where the elements were not read, because nothing can be told from
  // them or there are too many.
  bool known = false;
  std::vector<ForeignElement> elements = {};
};

struct ForeignTable {
  // NFPROTO_*.
  uint8_t family = 0;
  std::string name = {};
  // Switched off.
  bool dormant = false;
  std::vector<ForeignChain> chains = {};
  std::vector<ForeignSet> sets = {};
};

struct ForeignRuleset {
  // All tables, ours included.
  std::vector<ForeignTable> tables = {};
  // There was more than is read at most (kMaxForeignRules and so on).
  bool cut_short = false;
};

inline constexpr size_t kMaxForeignTables = 1024;
inline constexpr size_t kMaxForeignChains = 20'000;
inline constexpr size_t kMaxForeignRules = 50'000;
// Of all sets together.
inline constexpr size_t kMaxForeignElements = 50'000;

// Reads all tables of the socket's network namespace. What changes while it is
// read may be seen half. Elements are read only of sets that matter. UNAVAILABLE
// or PERMISSION_DENIED when the kernel refuses.
absl::StatusOr<ForeignRuleset> ReadForeignRuleset(Socket& socket);

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_FOREIGN_H_

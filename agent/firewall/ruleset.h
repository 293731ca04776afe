// The gate's ruleset as plain values. Nothing here knows netlink.

#ifndef POSTERN_AGENT_FIREWALL_RULESET_H_
#define POSTERN_AGENT_FIREWALL_RULESET_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "agent/grants/grant.h"
#include "agent/grants/ledger.h"
#include "common/clock.h"
#include "common/prefix.h"

namespace postern {

inline constexpr char kTableName[] = "postern";

// For how long a source that was refused is remembered after its last packet,
// and how many are, of one family.
inline constexpr absl::Duration kDeniedFor = absl::Hours(1);
inline constexpr uint32_t kMaxDenied = 8192;

// The bit of a connection's conntrack label (bit 0 is the lowest) that marks a
// connection as checked packet by packet. See
// docs/decisions/0002-conntrack-label.md.
inline constexpr int kCutLabelBit = 120;

// Bytes as they stand in a packet or a set: network order throughout.
using Bytes = std::vector<uint8_t>;

// One kernel set of granted elements: all of one family, prefix length and
// admission.
struct SetId {
  Family family = Family::kIpv4;
  uint8_t prefix_length = 0;
  Admission admission = Admission::kKeep;

  // "keep4_32", "cut6_64".
  std::string Name() const;

  friend auto operator<=>(const SetId&, const SetId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const SetId& s) {
    return H::combine(std::move(h), s.family, s.prefix_length, s.admission);
  }
};

SetId SetOf(const AccessKey& key, Admission admission);

struct Counter {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  friend bool operator==(const Counter&, const Counter&) = default;
};

// What the kernel holds for one element.
struct InstalledElement {
  AccessKey key;
  // Until the kernel ends it.
  absl::Duration remaining;
  Counter counter;
  friend bool operator==(const InstalledElement&, const InstalledElement&) = default;
};

// The set in which the packet path keeps the sources of one family that it
// refused ("denied4") or, where it only observes, would have ("observed4"). Its
// keys are of whole addresses.
std::string DeniedSetName(Family family, bool enforce);

// A TCP connection of this host, seen from this host.
struct Flow {
  Address remote;
  uint16_t remote_port = 0;
  Address local;
  uint16_t local_port = 0;

  // "203.0.113.7 port 50000 to 192.0.2.1 port 22"
  std::string ToString() const;

  friend auto operator<=>(const Flow&, const Flow&) = default;
};

// ---- Expressions of a rule ------------------------------------------------
// Registers are 32 bits wide and numbered from 0; a value of n bytes takes the
// ceil(n/4) registers from its first on (NFT_REG32_00 and up).

enum class MetaKey : uint8_t { kInputInterface, kOutputInterface, kL4Protocol, kNfProtocol };
struct LoadMeta {
  MetaKey key;
  int to = 0;
  friend bool operator==(const LoadMeta&, const LoadMeta&) = default;
};

enum class PayloadBase : uint8_t { kNetwork, kTransport };
struct LoadPayload {
  PayloadBase base;
  uint32_t offset = 0;
  uint32_t length = 0;
  int to = 0;
  friend bool operator==(const LoadPayload&, const LoadPayload&) = default;
};

// kProtocol is that of the connection, also for an ICMP error about it;
// kOriginalSource and kOriginalPort (the destination port) are those of the
// connection's first packet, before any NAT.
enum class CtKey : uint8_t {
  kState,
  kDirection,
  kLabel,
  kProtocol,
  kOriginalSource,
  kOriginalPort
};
struct LoadCt {
  CtKey key;
  // Chooses the width of kOriginalSource.
  Family family = Family::kIpv4;
  int to = 0;
  friend bool operator==(const LoadCt&, const LoadCt&) = default;
};

// Loads the type (RTN_LOCAL and so on, 4 bytes, host order) of the packet's
// destination or source address.
enum class FibAddress : uint8_t { kDestination, kSource };
struct LoadFibType {
  FibAddress address;
  int to = 0;
  friend bool operator==(const LoadFibType&, const LoadFibType&) = default;
};

// register &= mask
struct Mask {
  int at = 0;
  Bytes mask;
  friend bool operator==(const Mask&, const Mask&) = default;
};

// Goes on only when the comparison holds.
struct Compare {
  int at = 0;
  bool equal = true;
  Bytes value;
  friend bool operator==(const Compare&, const Compare&) = default;
};

// Goes on only when the set holds the key (or does not, when `absent`). An
// absent lookup does not touch the element's counter.
struct Lookup {
  std::string set;
  int at = 0;
  bool absent = false;
  friend bool operator==(const Lookup&, const Lookup&) = default;
};

// Puts the key into a set that the packet path fills. One that is there counts
// the packet, and its timeout begins anew. Goes on unless the set is full.
struct UpdateSet {
  std::string set;
  int at = 0;
  friend bool operator==(const UpdateSet&, const UpdateSet&) = default;
};

// Goes on for so many packets in each period, and for `burst` at once. A kernel
// without it always goes on.
struct Limit {
  uint64_t packets = 0;
  absl::Duration period;
  uint32_t burst = 0;
  friend bool operator==(const Limit&, const Limit&) = default;
};

// Sends the packet's first bytes to whoever listens to the group
// (nfnetlink_log). A kernel without it, or without Limit, does nothing.
struct SendToLog {
  uint16_t group = 0;
  friend bool operator==(const SendToLog&, const SendToLog&) = default;
};

// Sets the connection's cut label from a register that holds CutLabel().
struct SetCutLabel {
  friend bool operator==(const SetCutLabel&, const SetCutLabel&) = default;
};

// Counts into a named counter of the table.
struct Count {
  std::string counter;
  friend bool operator==(const Count&, const Count&) = default;
};

struct Accept {
  friend bool operator==(const Accept&, const Accept&) = default;
};
struct Drop {
  friend bool operator==(const Drop&, const Drop&) = default;
};
struct Jump {
  std::string chain;
  friend bool operator==(const Jump&, const Jump&) = default;
};
struct Goto {
  std::string chain;
  friend bool operator==(const Goto&, const Goto&) = default;
};

using Expression =
    std::variant<LoadMeta, LoadPayload, LoadCt, LoadFibType, Mask, Compare, Lookup, UpdateSet,
                 Limit, SendToLog, SetCutLabel, Count, Accept, Drop, Jump, Goto>;

struct Rule {
  std::string chain;
  std::vector<Expression> expressions;
  friend bool operator==(const Rule&, const Rule&) = default;
};

// The cut label as 16 bytes, as conntrack holds it in memory.
Bytes CutLabel();

// ---- Operations of a transaction ------------------------------------------

// Makes the table anew and empty, whatever it held.
struct ReplaceTable {
  friend bool operator==(const ReplaceTable&, const ReplaceTable&) = default;
};

enum class Hook : uint8_t { kPrerouting, kPostrouting };
struct BaseHook {
  Hook hook;
  int priority = 0;
  friend bool operator==(const BaseHook&, const BaseHook&) = default;
};
struct AddChain {
  std::string name;
  // Empty: a chain that is only jumped to.
  std::optional<BaseHook> base;
  friend bool operator==(const AddChain&, const AddChain&) = default;
};

// Removes all rules of a chain.
struct FlushChain {
  std::string name;
  friend bool operator==(const FlushChain&, const FlushChain&) = default;
};

struct AddRule {
  Rule rule;
  friend bool operator==(const AddRule&, const AddRule&) = default;
};

struct AddCounter {
  std::string name;
  friend bool operator==(const AddCounter&, const AddCounter&) = default;
};

// A set of granted elements: timeouts, and a counter on each element.
struct AddSet {
  SetId id;
  friend bool operator==(const AddSet&, const AddSet&) = default;
};
struct DeleteSet {
  SetId id;
  friend bool operator==(const DeleteSet&, const DeleteSet&) = default;
};

// A set whose elements do not time out.
struct AddConstantSet {
  std::string name;
  // Bytes in a key; each field of a concatenation is padded to 4.
  uint32_t key_length = 0;
  // The nft data types of the fields, as nft(8) encodes them (6 bits each), so
  // that `nft list` can print the set.
  uint32_t key_type = 0;
  std::vector<Bytes> elements;
  friend bool operator==(const AddConstantSet&, const AddConstantSet&) = default;
};

// A set whose elements the kernel removes together at `end`; it is empty where
// that has passed.
struct AddTimedSet {
  std::string name;
  // As of AddConstantSet.
  uint32_t key_length = 0;
  uint32_t key_type = 0;
  std::vector<Bytes> elements;
  BootTime end;
  friend bool operator==(const AddTimedSet&, const AddTimedSet&) = default;
};

// A set of refused sources (DeniedSetName), with what it begins with.
struct AddDeniedSet {
  Family family = Family::kIpv4;
  bool enforce = true;
  std::vector<InstalledElement> elements;
  friend bool operator==(const AddDeniedSet&, const AddDeniedSet&) = default;
};

// Inserts an element, or moves the end of the one that is there. One whose end
// has passed is left out.
struct PutElement {
  SetId set;
  AccessKey key;
  BootTime end;
  friend bool operator==(const PutElement&, const PutElement&) = default;
};

// Removes an element; one that has expired already is no error.
struct RemoveElement {
  SetId set;
  AccessKey key;
  friend bool operator==(const RemoveElement&, const RemoveElement&) = default;
};

using Operation =
    std::variant<ReplaceTable, AddChain, FlushChain, AddRule, AddCounter, AddSet, DeleteSet,
                 AddConstantSet, AddTimedSet, AddDeniedSet, PutElement, RemoveElement>;

// Applied in order, all or nothing.
using Transaction = std::vector<Operation>;

// For messages: the operation and its object, "add set keep4_32".
std::string Describe(const Operation& operation);

// A key as the bytes of its set's elements: masked address, protocol, port,
// each field padded to 4 bytes.
Bytes ElementKey(const AccessKey& key);
Bytes FlowKey(const Flow& flow);

}  // namespace postern

#endif  // POSTERN_AGENT_FIREWALL_RULESET_H_

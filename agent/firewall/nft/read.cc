#include "agent/firewall/nft/read.h"

#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "agent/firewall/nft/attributes.h"
#include "agent/firewall/nft/batch.h"

namespace postern::nft {
namespace {

bool IsOfType(const nlmsghdr& message, uint16_t type) {
  return NFNL_SUBSYS_ID(message.nlmsg_type) == NFNL_SUBSYS_NFTABLES &&
         NFNL_MSG_TYPE(message.nlmsg_type) == type &&
         mnl_nlmsg_get_payload_len(&message) >= sizeof(nfgenmsg);
}

// The attributes of one level by type, none above Max.
template <size_t Max>
using Attributes = std::array<const nlattr*, Max + 1>;

template <size_t Max>
Attributes<Max> AttributesOf(const nlmsghdr& message) {
  Attributes<Max> kept = {};
  ForEachAttributeOf(message, sizeof(nfgenmsg), [&kept](const nlattr& attribute) {
    const uint16_t type = mnl_attr_get_type(&attribute);
    if (type <= Max) kept[type] = &attribute;
  });
  return kept;
}

template <size_t Max>
Attributes<Max> AttributesIn(const nlattr& nest) {
  Attributes<Max> kept = {};
  ForEachNested(nest, [&kept](const nlattr& attribute) {
    const uint16_t type = mnl_attr_get_type(&attribute);
    if (type <= Max) kept[type] = &attribute;
  });
  return kept;
}

std::optional<uint32_t> Number32(const nlattr* attribute) {
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != sizeof(uint32_t)) {
    return std::nullopt;
  }
  return be32toh(mnl_attr_get_u32(attribute));
}

std::optional<uint64_t> Number64(const nlattr* attribute) {
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != sizeof(uint64_t)) {
    return std::nullopt;
  }
  return be64toh(mnl_attr_get_u64(attribute));
}

// Up to the first NUL, or to the attribute's end.
absl::string_view Text(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  const absl::string_view all(mnl_attr_get_str(attribute), mnl_attr_get_payload_len(attribute));
  return all.substr(0, all.find('\0'));
}

absl::Span<const uint8_t> Data(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  return {static_cast<const uint8_t*>(mnl_attr_get_payload(attribute)),
          mnl_attr_get_payload_len(attribute)};
}

Counter CounterIn(const nlattr& nest) {
  const auto attributes = AttributesIn<NFTA_COUNTER_MAX>(nest);
  return {.packets = Number64(attributes[NFTA_COUNTER_PACKETS]).value_or(0),
          .bytes = Number64(attributes[NFTA_COUNTER_BYTES]).value_or(0)};
}

RawElement ElementIn(const nlattr& nest) {
  const auto attributes = AttributesIn<NFTA_SET_ELEM_MAX>(nest);
  RawElement element;
  if (const nlattr* key = attributes[NFTA_SET_ELEM_KEY]) {
    element.key = Data(AttributesIn<NFTA_DATA_MAX>(*key)[NFTA_DATA_VALUE]);
  }
  element.expiration = Number64(attributes[NFTA_SET_ELEM_EXPIRATION]);
  if (const nlattr* nested = attributes[NFTA_SET_ELEM_EXPR]) {
    const auto expression = AttributesIn<NFTA_EXPR_MAX>(*nested);
    if (expression[NFTA_EXPR_DATA] != nullptr && Text(expression[NFTA_EXPR_NAME]) == "counter") {
      element.counter = CounterIn(*expression[NFTA_EXPR_DATA]);
    }
  }
  return element;
}

absl::Duration Milliseconds(uint64_t count) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  return absl::Milliseconds(static_cast<int64_t>(std::min(count, kMost)));
}

// Takes the fields of a concatenated key one by one.
class KeyReader {
 public:
  explicit KeyReader(absl::Span<const uint8_t> key) : left_(key) {}

  Address TakeAddress(Family family) {
    Address address{.family = family};
    const auto bytes = Take(address.size());
    std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
    return address;
  }

  uint16_t TakePort() {
    const auto bytes = Take(4);
    if (bytes.empty()) return 0;
    ok_ = ok_ && bytes[2] == 0 && bytes[3] == 0;
    return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]);
  }

  uint8_t TakeProtocol() {
    const auto bytes = Take(4);
    if (bytes.empty()) return 0;
    ok_ = ok_ && bytes[1] == 0 && bytes[2] == 0 && bytes[3] == 0;
    return bytes[0];
  }

  // All fields were there, their padding is zero, and nothing is left.
  bool ok() const { return ok_ && left_.empty(); }

 private:
  absl::Span<const uint8_t> Take(size_t count) {
    if (left_.size() < count) {
      ok_ = false;
      return {};
    }
    const auto taken = left_.subspan(0, count);
    left_.remove_prefix(count);
    return taken;
  }

  absl::Span<const uint8_t> left_;
  bool ok_ = true;
};

}  // namespace

std::optional<SetId> ParseSetName(absl::string_view name) {
  absl::string_view left = name;
  SetId id;
  if (absl::ConsumePrefix(&left, "cut")) {
    id.admission = Admission::kCut;
  } else if (!absl::ConsumePrefix(&left, "keep")) {
    return std::nullopt;
  }
  if (absl::ConsumePrefix(&left, "6_")) {
    id.family = Family::kIpv6;
  } else if (!absl::ConsumePrefix(&left, "4_")) {
    return std::nullopt;
  }
  int length = 0;
  if (!absl::SimpleAtoi(left, &length) || length < 0 || length > AddressBits(id.family)) {
    return std::nullopt;
  }
  id.prefix_length = static_cast<uint8_t>(length);
  // "keep4_07" and "keep4_+7" read as numbers too.
  if (id.Name() != name) return std::nullopt;
  return id;
}

std::optional<uint32_t> ParseProtector(const nlmsghdr& message) {
  if (!IsOfType(message, NFT_MSG_NEWTABLE)) return std::nullopt;
  const auto attributes = AttributesOf<NFTA_TABLE_MAX>(message);
  const std::optional<uint32_t> flags = Number32(attributes[NFTA_TABLE_FLAGS]);
  if (!flags || (*flags & kProtectedTable) != kProtectedTable) return std::nullopt;
  return Number32(attributes[NFTA_TABLE_OWNER]);
}

std::optional<SetId> ParseSet(const nlmsghdr& message) {
  if (!IsOfType(message, NFT_MSG_NEWSET)) return std::nullopt;
  const auto attributes = AttributesOf<NFTA_SET_MAX>(message);
  if (Text(attributes[NFTA_SET_TABLE]) != kTableName) return std::nullopt;
  return ParseSetName(Text(attributes[NFTA_SET_NAME]));
}

void ForEachElement(const nlmsghdr& message, absl::FunctionRef<void(const RawElement&)> take) {
  if (!IsOfType(message, NFT_MSG_NEWSETELEM)) return;
  const auto attributes = AttributesOf<NFTA_SET_ELEM_LIST_MAX>(message);
  const nlattr* list = attributes[NFTA_SET_ELEM_LIST_ELEMENTS];
  if (list == nullptr) return;
  ForEachNested(*list, [take](const nlattr& element) { take(ElementIn(element)); });
}

std::optional<InstalledElement> ParseElement(const RawElement& element, const SetId& set) {
  if (element.expiration == uint64_t{0}) return std::nullopt;
  KeyReader reader(element.key);
  InstalledElement installed;
  installed.key.source = {.address = reader.TakeAddress(set.family), .length = set.prefix_length};
  // Any number, so that what somebody else put there can be named and removed.
  installed.key.protocol = static_cast<Protocol>(reader.TakeProtocol());
  installed.key.port = reader.TakePort();
  if (!reader.ok()) return std::nullopt;
  installed.remaining =
      element.expiration.has_value() ? Milliseconds(*element.expiration) : absl::InfiniteDuration();
  installed.counter = element.counter;
  return installed;
}

std::optional<Flow> ParseFlow(absl::Span<const uint8_t> key) {
  constexpr size_t kIpv4FlowKey = 16;
  const Family family = key.size() == kIpv4FlowKey ? Family::kIpv4 : Family::kIpv6;
  KeyReader reader(key);
  Flow flow;
  flow.remote = reader.TakeAddress(family);
  flow.remote_port = reader.TakePort();
  flow.local = reader.TakeAddress(family);
  flow.local_port = reader.TakePort();
  if (!reader.ok()) return std::nullopt;
  return flow;
}

std::optional<Counter> ParseCounter(const nlmsghdr& message) {
  if (!IsOfType(message, NFT_MSG_NEWOBJ)) return std::nullopt;
  const nlattr* data = AttributesOf<NFTA_OBJ_MAX>(message)[NFTA_OBJ_DATA];
  if (data == nullptr) return std::nullopt;
  return CounterIn(*data);
}

}  // namespace postern::nft

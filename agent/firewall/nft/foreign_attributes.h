// The attributes of one level of a message by their types, each length checked
// before it is believed.

#ifndef POSTERN_AGENT_FIREWALL_NFT_FOREIGN_ATTRIBUTES_H_
#define POSTERN_AGENT_FIREWALL_NFT_FOREIGN_ATTRIBUTES_H_

#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "agent/firewall/nft/attributes.h"

namespace postern::nft {

// Points into the message. What is absent, or of another length, is zero or
// empty.
class Fields {
 public:
  static Fields Of(const nlmsghdr& message) {
    Fields fields;
    ForEachAttributeOf(message, sizeof(nfgenmsg), [&](const nlattr& a) { fields.Keep(a); });
    return fields;
  }
  // Of a nest, which may be null.
  static Fields In(const nlattr* nest) {
    Fields fields;
    if (nest != nullptr) ForEachNested(*nest, [&](const nlattr& a) { fields.Keep(a); });
    return fields;
  }

  const nlattr* at(size_t type) const { return type < kept_.size() ? kept_[type] : nullptr; }
  bool Has(size_t type) const { return at(type) != nullptr; }

  uint32_t Number32(size_t type) const {
    const nlattr* attribute = at(type);
    if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != sizeof(uint32_t)) return 0;
    return be32toh(mnl_attr_get_u32(attribute));
  }
  uint64_t Number64(size_t type) const {
    const nlattr* attribute = at(type);
    if (attribute == nullptr || mnl_attr_get_payload_len(attribute) != sizeof(uint64_t)) return 0;
    return be64toh(mnl_attr_get_u64(attribute));
  }
  // Up to the first NUL, or to the attribute's end.
  std::string Text(size_t type) const {
    const nlattr* attribute = at(type);
    if (attribute == nullptr) return "";
    const absl::string_view all(mnl_attr_get_str(attribute), mnl_attr_get_payload_len(attribute));
    return std::string(all.substr(0, all.find('\0')));
  }
  absl::Span<const uint8_t> Data(size_t type) const {
    const nlattr* attribute = at(type);
    if (attribute == nullptr) return {};
    return {static_cast<const uint8_t*>(mnl_attr_get_payload(attribute)),
            mnl_attr_get_payload_len(attribute)};
  }

 private:
  // No level that is read here has more types.
  static constexpr size_t kTypes = 32;

  void Keep(const nlattr& attribute) {
    const uint16_t type = mnl_attr_get_type(&attribute);
    if (type < kTypes) kept_[type] = &attribute;
  }

  std::array<const nlattr*, kTypes> kept_ = {};
};

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_FOREIGN_ATTRIBUTES_H_

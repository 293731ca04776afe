#include "agent/firewall/ruleset.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace postern {
namespace {

void AppendAddress(const Address& address, Bytes& out) {
  out.insert(out.end(), address.bytes.begin(), address.bytes.begin() + address.size());
}

// A field of a concatenated key takes whole 32-bit registers.
void AppendPort(uint16_t port, Bytes& out) {
  out.insert(out.end(), {static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port & 0xff), 0, 0});
}

template <typename... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
// C++20 derives it; clang 14 does not yet.
template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace

std::string SetId::Name() const {
  return absl::StrCat(admission == Admission::kKeep ? "keep" : "cut",
                      family == Family::kIpv4 ? "4" : "6", "_", prefix_length);
}

std::string DeniedSetName(Family family, bool enforce) {
  return absl::StrCat(enforce ? "denied" : "observed", family == Family::kIpv4 ? "4" : "6");
}

SetId SetOf(const AccessKey& key, Admission admission) {
  return SetId{
      .family = key.source.family(), .prefix_length = key.source.length, .admission = admission};
}

std::string Flow::ToString() const {
  return absl::StrCat(remote.ToString(), " port ", remote_port, " to ", local.ToString(), " port ",
                      local_port);
}

Bytes CutLabel() {
  Bytes label(16, 0);
  label[kCutLabelBit / 8] = static_cast<uint8_t>(1U << (kCutLabelBit % 8));
  return label;
}

std::string Describe(const Operation& operation) {
  return std::visit(
      Overloaded{
          [](const ReplaceTable&) { return absl::StrCat("replace table inet ", kTableName); },
          [](const AddChain& o) { return absl::StrCat("add chain ", o.name); },
          [](const FlushChain& o) { return absl::StrCat("flush chain ", o.name); },
          [](const AddRule& o) { return absl::StrCat("add rule to chain ", o.rule.chain); },
          [](const AddCounter& o) { return absl::StrCat("add counter ", o.name); },
          [](const AddSet& o) { return absl::StrCat("add set ", o.id.Name()); },
          [](const DeleteSet& o) { return absl::StrCat("delete set ", o.id.Name()); },
          [](const AddConstantSet& o) { return absl::StrCat("add set ", o.name); },
          [](const AddTimedSet& o) { return absl::StrCat("add set ", o.name); },
          [](const AddDeniedSet& o) {
            return absl::StrCat("add set ", DeniedSetName(o.family, o.enforce));
          },
          [](const PutElement& o) {
            return absl::StrCat("add ", o.key.ToString(), " to set ", o.set.Name());
          },
          [](const RemoveElement& o) {
            return absl::StrCat("remove ", o.key.ToString(), " from set ", o.set.Name());
          },
      },
      operation);
}

Bytes ElementKey(const AccessKey& key) {
  Bytes bytes;
  bytes.reserve(key.source.address.size() + 8);
  AppendAddress(key.source.address, bytes);
  bytes.insert(bytes.end(), {static_cast<uint8_t>(key.protocol), 0, 0, 0});
  AppendPort(key.port, bytes);
  return bytes;
}

Bytes FlowKey(const Flow& flow) {
  Bytes bytes;
  bytes.reserve(flow.remote.size() * 2 + 8);
  AppendAddress(flow.remote, bytes);
  AppendPort(flow.remote_port, bytes);
  AppendAddress(flow.local, bytes);
  AppendPort(flow.local_port, bytes);
  return bytes;
}

}  // namespace postern

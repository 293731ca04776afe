#include "agent/enforcer/exposure.h"

#include <algorithm>
#include <string>

namespace postern {
namespace {

template <typename T>
bool Holds(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool AlwaysAllows(const GateOptions& gate, const Address& source) {
  return std::any_of(gate.always_allow.begin(), gate.always_allow.end(),
                     [&](const Prefix& prefix) { return prefix.Contains(source); });
}

bool IsExposed(const GateOptions& gate, const Flow& flow) {
  return Holds(gate.ports, flow.local_port) && flow.remote != flow.local &&
         !AlwaysAllows(gate, flow.remote);
}

bool TrustsAllOf(const GateOptions& gate, const std::vector<std::string>& interfaces) {
  return std::all_of(interfaces.begin(), interfaces.end(), [&](const std::string& interface) {
    return Holds(gate.trusted_interfaces, interface);
  });
}

}  // namespace

std::vector<Flow> ExposedBy(const GateOptions& gate, const LiveFlows& live) {
  std::vector<Flow> exposed;
  for (const auto& [flow, cookie] : live) {
    if (IsExposed(gate, flow)) exposed.push_back(flow);
  }
  return exposed;
}

std::vector<Flow> NewlyExposedBy(const GateOptions& before, const GateOptions& after,
                                 const LiveFlows& live) {
  if (!after.enforce) return {};
  std::vector<Flow> exposed = ExposedBy(after, live);
  // Through which interface a session came, its socket does not tell.
  if (!before.enforce || !TrustsAllOf(after, before.trusted_interfaces)) return exposed;
  std::erase_if(exposed, [&](const Flow& flow) { return IsExposed(before, flow); });
  return exposed;
}

}  // namespace postern

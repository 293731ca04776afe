// Azure resource ids, as far as just-in-time access names things by them. Pure.
// Names are kept as they were written and compared without case.

#ifndef POSTERN_CONTROLLER_DOMAIN_RESOURCE_ID_H_
#define POSTERN_CONTROLLER_DOMAIN_RESOURCE_ID_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace postern::controller {

// A virtual machine:
// /subscriptions/GUID/resourceGroups/GROUP/providers/Microsoft.Compute/virtualMachines/NAME
struct VmId {
  // A GUID in lower case.
  std::string subscription = {};
  std::string resource_group = {};
  std::string name = {};

  static absl::StatusOr<VmId> Parse(absl::string_view text);
  std::string ToString() const;
  // The same for ids that mean the same VM: ToString in lower case.
  std::string Key() const;
};

// A policy: .../resourceGroups/GROUP/providers/Microsoft.Security/locations/
// LOCATION/jitNetworkAccessPolicies/NAME
struct PolicyId {
  std::string subscription = {};
  std::string resource_group = {};
  std::string location = {};
  std::string name = {};

  std::string ToString() const;
  std::string Key() const;
};

// What a role is assigned on. Empty fields are wider: a scope without a resource
// group is a whole subscription, one without a name a whole group.
struct Scope {
  std::string subscription = {};
  std::string resource_group = {};
  std::string vm = {};

  // "/subscriptions/GUID", "/subscriptions/GUID/resourceGroups/GROUP", or a
  // VM's id.
  static absl::StatusOr<Scope> Parse(absl::string_view text);
  static Scope Of(const VmId& vm);
  std::string ToString() const;
  std::string Key() const;
  // Whether a role on this scope holds on `other`.
  bool Contains(const Scope& other) const;
};

// `text` in lower case if it is a GUID of 8-4-4-4-12 hexadecimal digits.
// INVALID_ARGUMENT otherwise.
absl::StatusOr<std::string> ParseSubscription(absl::string_view text);

// Azure's rules for the names of resource groups (at most 90 characters),
// locations, policies and virtual machines (at most 64): letters, digits and
// "-_.()", not ending in ".". The error names `what`.
absl::Status CheckName(absl::string_view what, absl::string_view name, size_t max_bytes);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_DOMAIN_RESOURCE_ID_H_

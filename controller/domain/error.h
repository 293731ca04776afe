// Errors with Azure's code, for clients that read it.

#ifndef POSTERN_CONTROLLER_DOMAIN_ERROR_H_
#define POSTERN_CONTROLLER_DOMAIN_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace postern::controller {

// A status whose error an Azure client reads as `azure_code`, such as
// "InvalidInitiateInput"; `target` names the part of the request it is about and
// may be empty.
absl::Status CodedError(absl::StatusCode code, absl::string_view azure_code,
                        absl::string_view message, absl::string_view target = "");

// What CodedError put there; "" for another status.
std::string AzureCodeOf(const absl::Status& status);
std::string TargetOf(const absl::Status& status);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_DOMAIN_ERROR_H_

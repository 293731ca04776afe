// Why can I not get in, and what would let me: the answer to somebody who stands
// at the VM's console.

#ifndef POSTERN_CLI_SELF_H_
#define POSTERN_CLI_SELF_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/client.h"
#include "cli/describe.h"
#include "cli/listeners.h"
#include "common/prefix.h"
#include "postern/v1/self.pb.h"

namespace postern {

// What the report is put together from.
struct SelfFacts {
  // The agent's answers, or the failure of the first call.
  absl::StatusOr<v1::GetStatusResponse> status;
  v1::ListDeniedResponse denied;
  // Ended ones as well.
  std::vector<v1::Grant> grants;
  v1::DiagnoseResponse diagnosis;
  std::vector<ListeningSocket> listeners;
  // The other end of the caller's ssh session, and what CheckAccess says of it.
  std::optional<Address> ssh_client;
  std::optional<v1::CheckAccessResponse> ssh_client_access;
};

// Pure.
v1::SelfReport PutTogether(const SelfFacts& facts);

// Blocks of lines, each with its newline.
std::string DescribeSelf(const v1::SelfReport& report, const Reader& reader);

}  // namespace postern

#endif  // POSTERN_CLI_SELF_H_

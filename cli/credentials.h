// The certificate files with which a remote agent is called.

#ifndef POSTERN_CLI_CREDENTIALS_H_
#define POSTERN_CLI_CREDENTIALS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/command.h"

namespace postern {

struct Credentials {
  // PEM.
  std::string ca;
  std::string cert;
  std::string key;
  // What is worth a word on stderr, one sentence each.
  std::vector<std::string> warnings;
};

// Reads the three files. Refuses what holds no PEM of its kind, and a key that
// is not the certificate's; warns of a key that others may read and of
// certificates outside their time.
absl::StatusOr<Credentials> ReadCredentials(const RemoteAgent& agent, absl::Time now);

}  // namespace postern

#endif  // POSTERN_CLI_CREDENTIALS_H_

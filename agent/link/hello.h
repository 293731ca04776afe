// The first message on a stream to the controller: what this VM is.

#ifndef POSTERN_AGENT_LINK_HELLO_H_
#define POSTERN_AGENT_LINK_HELLO_H_

#include "absl/status/statusor.h"
#include "agent/enforcer/mailbox.h"
#include "agent/link/link.h"
#include "common/clock.h"
#include "postern/v1/controller.pb.h"

namespace postern {

// Not on the gatekeeper's thread. Fails where the gatekeeper cannot be reached.
absl::StatusOr<v1::AgentMessage> HelloOf(const LinkOptions& options, Mailbox& mailbox,
                                         const Clock& clock);

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_HELLO_H_

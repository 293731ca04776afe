#include "agent/link/hello.h"

#include "absl/time/time.h"
#include "agent/link/applier.h"
#include "common/status.h"

namespace postern {

absl::StatusOr<v1::AgentMessage> HelloOf(const LinkOptions& options, Mailbox& mailbox,
                                         const Clock& clock) {
  v1::AgentMessage message;
  v1::AgentHello& hello = *message.mutable_hello();
  hello.set_version(options.version);
  hello.set_hostname(options.name);
  POSTERN_ASSIGN_OR_RETURN(
      const bool enforces, Asked<bool>(mailbox, [&hello](Gatekeeper& gatekeeper) {
        const Limits& limits = gatekeeper.limits();
        for (const uint16_t port : limits.guarded_ports) {
          hello.add_guarded_ports(port);
        }
        hello.mutable_max_duration()->set_seconds(absl::ToInt64Seconds(limits.max_duration));
        return gatekeeper.enforces();
      }));
  hello.set_enforces(enforces);
  const int64_t nanoseconds = absl::ToUnixNanos(clock.Read().wall);
  hello.mutable_clock()->set_seconds(nanoseconds / 1'000'000'000);
  hello.mutable_clock()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  return message;
}

}  // namespace postern

// The stream to the controller: what it wants of this VM becomes commands for the
// gatekeeper, and what became of them is told. Losing it changes nothing about
// live grants.

#ifndef POSTERN_AGENT_LINK_LINK_H_
#define POSTERN_AGENT_LINK_LINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/config/config.h"
#include "agent/enforcer/mailbox.h"
#include "agent/grants/audit.h"
#include "agent/link/applier.h"
#include "common/clock.h"

namespace postern {

struct LinkState {
  bool attached = false;
  // Since when it is so.
  absl::Time since;
  // Why it is not attached, or what fails while it is; empty where nothing does.
  std::string problem = {};
  // Of the wanted state that was applied last.
  uint64_t revision = 0;
};

struct LinkOptions {
  ControllerConfig controller;
  std::string state_dir;
  std::string version;
  // This VM's name, for a join token that is not for one VM alone.
  std::string name;
  // Called by the link's thread.
  ReadMappedPorts read_mapped;
  // Called when LinkState may be another; any thread.
  std::function<void()> changed;
};

// Made and destroyed by the gatekeeper's thread; has threads of its own.
class Link {
 public:
  // Dials at once, and again for as long as it lives. `mailbox` and `clock` are
  // borrowed.
  static std::unique_ptr<Link> Start(LinkOptions options, Mailbox& mailbox, const Clock& clock);
  virtual ~Link() = default;

  // Any thread.
  virtual LinkState state() const = 0;
  // The gatekeeper's thread: something happened here, which the controller may
  // want to know.
  virtual void OnEvent(const AuditEvent& event) = 0;
  // The gatekeeper's thread: it is awake on account of live grants. Now and then the
  // controller is told how much they are used.
  virtual void OnAlarm() = 0;
};

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_LINK_H_

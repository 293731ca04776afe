// What a reload (SIGHUP) changes at once, and what waits for a restart. Pure.

#ifndef POSTERN_AGENT_CONFIG_RELOAD_H_
#define POSTERN_AGENT_CONFIG_RELOAD_H_

#include <string>
#include <vector>

#include "agent/config/config.h"

namespace postern {

struct ReloadPlan {
  // In force from now on: the wanted values, and the running ones where a change
  // needs a restart.
  Config config;
  // The keys that change now, such as "guard.ports", in the order of the file.
  std::vector<std::string> applied;
  // One message for each key whose change needs a restart.
  std::vector<std::string> needs_restart;

  friend bool operator==(const ReloadPlan&, const ReloadPlan&) = default;
};

// The files behind listen.tls may hold other content under the same names, so
// they are to be read again whatever the plan says.
ReloadPlan PlanReload(const Config& running, const Config& wanted);

}  // namespace postern

#endif  // POSTERN_AGENT_CONFIG_RELOAD_H_

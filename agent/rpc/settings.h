// What can change while the server serves.

#ifndef POSTERN_AGENT_RPC_SETTINGS_H_
#define POSTERN_AGENT_RPC_SETTINGS_H_

#include <memory>
#include <mutex>
#include <utility>

#include "agent/config/config.h"
#include "agent/rpc/server.h"

namespace postern {

struct Settings {
  Config config;
  AgentFacts facts;
};

// The settings in force. Any thread; whoever took a snapshot keeps it.
class SharedSettings {
 public:
  explicit SharedSettings(Settings settings) { Set(std::move(settings)); }

  std::shared_ptr<const Settings> Get() const {
    const std::lock_guard lock(mutex_);
    return settings_;
  }

  void Set(Settings settings) {
    auto next = std::make_shared<const Settings>(std::move(settings));
    const std::lock_guard lock(mutex_);
    settings_ = std::move(next);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Settings> settings_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_SETTINGS_H_

#include "controller/rest/open_connections.h"

#include <utility>

namespace postern::controller {

bool OpenConnections::MakeRoom(const std::string& network) {
  size_t of_network = 0;
  all_.remove_if([&](const std::weak_ptr<OpenConnection>& one) {
    const std::shared_ptr<OpenConnection> connection = one.lock();
    if (connection != nullptr && connection->network() == network) ++of_network;
    return connection == nullptr;
  });
  if (of_network >= most_of_one_) {
    return CloseIdlest([&](const OpenConnection& one) { return one.network() == network; });
  }
  if (all_.size() < most_) return true;
  return CloseIdlest([](const OpenConnection&) { return true; });
}

bool OpenConnections::CloseIdlest(const std::function<bool(const OpenConnection&)>& among) {
  std::shared_ptr<OpenConnection> idlest;
  for (const std::weak_ptr<OpenConnection>& one : all_) {
    std::shared_ptr<OpenConnection> connection = one.lock();
    if (connection == nullptr || !connection->idle() || !among(*connection)) continue;
    if (idlest == nullptr || connection->idle_since() < idlest->idle_since()) {
      idlest = std::move(connection);
    }
  }
  if (idlest == nullptr) return false;
  idlest->Close();
  all_.remove_if([&](const std::weak_ptr<OpenConnection>& one) { return one.lock() == idlest; });
  return true;
}

void OpenConnections::CloseAll() {
  for (const std::weak_ptr<OpenConnection>& one : all_) {
    if (const std::shared_ptr<OpenConnection> connection = one.lock()) connection->Close();
  }
}

}  // namespace postern::controller

// The connections that a server has open, bounded in all and for each network.

#ifndef POSTERN_CONTROLLER_REST_OPEN_CONNECTIONS_H_
#define POSTERN_CONTROLLER_REST_OPEN_CONNECTIONS_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace postern::controller {

class OpenConnection {
 public:
  virtual ~OpenConnection() = default;

  // As NetworkOf() has it.
  virtual const std::string& network() const = 0;
  // Nobody waits for an answer on it.
  virtual bool idle() const = 0;
  virtual std::chrono::steady_clock::time_point idle_since() const = 0;
  virtual void Close() = 0;
};

// One thread. A connection is counted until it is gone.
class OpenConnections {
 public:
  OpenConnections(size_t most, size_t most_of_one) : most_(most), most_of_one_(most_of_one) {}

  // Whether there is room for one more of `network`. Where there is too little, the
  // connection that has been idle for longest is closed for it: of all, or of its own
  // network where that has all that it may, so that nobody crowds out others.
  bool MakeRoom(const std::string& network);
  void Add(const std::shared_ptr<OpenConnection>& connection) { all_.push_back(connection); }
  void CloseAll();

 private:
  bool CloseIdlest(const std::function<bool(const OpenConnection&)>& among);

  const size_t most_;
  const size_t most_of_one_;
  std::list<std::weak_ptr<OpenConnection>> all_;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_OPEN_CONNECTIONS_H_

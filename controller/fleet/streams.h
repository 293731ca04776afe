// The streams of the agents that are attached to this controller.

#ifndef POSTERN_CONTROLLER_FLEET_STREAMS_H_
#define POSTERN_CONTROLLER_FLEET_STREAMS_H_

#include <grpcpp/grpcpp.h>
#include <postern/v1/controller.pb.h>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "controller/domain/resource_id.h"
#include "controller/service/fleet_service.h"

namespace postern::controller {

class Stream;

// Any thread. The store is read and written by its workers.
class Streams {
 public:
  // `fleet` and `clock` are borrowed.
  Streams(FleetService& fleet, const Clock& clock, size_t workers,
          std::function<void(const std::string&)> report);
  // After EndAll, when gRPC calls none of them any more. Runs what is posted.
  ~Streams();

  // A call to Attach, by the VM whose certificate of this serial number it showed; one
  // without ends with the error. gRPC owns what is returned until it is done.
  grpc::ServerBidiReactor<v1::AgentMessage, v1::WantedState>* Open(
      absl::StatusOr<VmId> vm, const std::string& serial, grpc::CallbackServerContext& context);
  // As FleetServer has them.
  void Changed(const std::vector<std::string>& vm_keys);
  void CheckAll();
  size_t attached() const;
  // Agents that are told dial again; those that are not would be waited for.
  void EndAll();

  // Runs `work` on one of the workers.
  template <typename Work>
  void Post(Work work) {
    boost::asio::post(workers_, std::move(work));
  }

 private:
  friend class Stream;

  // The stream is the VM's from now on; one that was is ended.
  void Register(const std::shared_ptr<Stream>& stream);
  void Forget(const Stream& stream);
  std::shared_ptr<Stream> Find(const std::string& vm_key) const;
  std::map<std::string, std::shared_ptr<Stream>> All() const;
  absl::Status Told(const absl::Status& status) const;
  bool IsKeepAliveDue();
  void Report(const absl::Status& status) const;

  FleetService& fleet_;
  const Clock& clock_;
  const std::function<void(const std::string&)> report_;
  boost::asio::thread_pool workers_;
  mutable std::mutex mutex_;
  // By the keys of their VMs.
  std::map<std::string, std::shared_ptr<Stream>> streams_;
  // Once it stops: those that ended since.
  bool stopping_ = false;
  std::vector<AgentStream> ended_;
  BootTime kept_alive_at_;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_FLEET_STREAMS_H_

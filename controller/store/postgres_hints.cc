#include "controller/store/postgres_hints.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "controller/store/postgres_connection.h"

namespace postern::controller {
namespace {

constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Seconds(30);
// A server that vanished says nothing: it is asked whether it is there.
constexpr absl::Duration kLook = absl::Minutes(1);

struct FreeNotice {
  void operator()(PGnotify* notice) const { PQfreemem(notice); }
};

class Listener final : public HintListener {
 public:
  Listener(std::string conninfo, std::function<bool(int)> is_own,
           std::function<void(const std::string&)> take)
      : conninfo_(std::move(conninfo)),
        is_own_(std::move(is_own)),
        take_(std::move(take)),
        stop_(eventfd(0, EFD_CLOEXEC)),
        thread_([this] { Run(); }) {}

  ~Listener() override {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(stop_, &one, sizeof one);
    thread_.join();
    close(stop_);
  }

 private:
  // False when it is time to stop.
  bool Wait(int fd, absl::Duration time) const {
    std::array<pollfd, 2> waiting = {pollfd{.fd = stop_, .events = POLLIN, .revents = 0},
                                     pollfd{.fd = fd, .events = POLLIN, .revents = 0}};
    poll(waiting.data(), waiting.size(), static_cast<int>(absl::ToInt64Milliseconds(time)));
    return waiting[0].revents == 0;
  }

  static bool Does(const PostgresConnection& connection, const std::string& sql) {
    const PostgresResult result(PQexec(connection.get(), sql.c_str()));
    const ExecStatusType status = PQresultStatus(result.get());
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
  }

  void Run() {
    absl::Duration pause = kFirstPause;
    do {
      const PostgresConnection connection = ConnectToPostgres(conninfo_);
      if (Does(connection, absl::StrCat("LISTEN ", kHintChannel))) {
        pause = kFirstPause;
        // Nobody heard what was said before.
        take_("");
        if (!Hear(connection)) return;
      } else {
        pause = std::min(pause * 2, kLongestPause);
      }
    } while (Wait(-1, pause));
  }

  // Until the connection breaks; false when it is time to stop.
  bool Hear(const PostgresConnection& connection) {
    while (Wait(PQsocket(connection.get()), kLook)) {
      if (PQconsumeInput(connection.get()) == 0) return true;
      bool heard = false;
      while (true) {
        const std::unique_ptr<PGnotify, FreeNotice> notice(PQnotifies(connection.get()));
        if (notice == nullptr) break;
        heard = true;
        if (!is_own_(notice->be_pid)) take_(notice->extra);
      }
      if (!heard && !Does(connection, "SELECT 1")) return true;
    }
    return false;
  }

  const std::string conninfo_;
  const std::function<bool(int)> is_own_;
  const std::function<void(const std::string&)> take_;
  const int stop_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<HintListener> ListenToPostgres(const std::string& conninfo,
                                               std::function<bool(int)> is_own,
                                               std::function<void(const std::string&)> take) {
  return std::make_unique<Listener>(conninfo, std::move(is_own), std::move(take));
}

}  // namespace postern::controller

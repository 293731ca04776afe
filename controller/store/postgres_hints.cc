#include "controller/store/postgres_hints.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "controller/store/postgres_session.h"

namespace postern::controller {
namespace {

constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Seconds(30);
// A server that vanished says nothing: it is asked whether it is there.
constexpr absl::Duration kLook = absl::Minutes(1);

class Listener final : public HintListener {
 public:
  Listener(std::string conninfo, const PostgresLimits& limits, std::function<bool(int)> is_own,
           std::function<void(const std::string&)> take)
      : conninfo_(std::move(conninfo)),
        limits_(limits),
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

  void Run() {
    absl::Duration pause = kFirstPause;
    do {
      PostgresSession session(conninfo_, limits_);
      if (Asks(session, absl::StrCat("LISTEN ", kHintChannel))) {
        pause = kFirstPause;
        // Nobody heard what was said before.
        take_("");
        if (!Hear(session)) return;
      } else {
        pause = std::min(pause * 2, kLongestPause);
      }
    } while (Wait(-1, pause));
  }

  bool Asks(PostgresSession& session, const std::string& sql) const {
    return session.Run(sql, {}, limits_.silence).ok();
  }

  // Until the connection breaks; false when it is time to stop. Hints may also have
  // come with the answer to a statement, which does not show at the socket.
  bool Hear(PostgresSession& session) {
    TakeHints(session);
    while (Wait(session.socket(), kLook)) {
      if (!session.TakeIn()) return true;
      if (TakeHints(session)) continue;
      if (!Asks(session, "SELECT 1")) return true;
      TakeHints(session);
    }
    return false;
  }

  // Whether there were any.
  bool TakeHints(PostgresSession& session) {
    bool heard = false;
    while (const std::optional<PostgresNotice> notice = session.NextNotice()) {
      heard = true;
      if (!is_own_(notice->pid)) take_(notice->text);
    }
    return heard;
  }

  const std::string conninfo_;
  const PostgresLimits limits_;
  const std::function<bool(int)> is_own_;
  const std::function<void(const std::string&)> take_;
  const int stop_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<HintListener> ListenToPostgres(const std::string& conninfo,
                                               const PostgresLimits& limits,
                                               std::function<bool(int)> is_own,
                                               std::function<void(const std::string&)> take) {
  return std::make_unique<Listener>(conninfo, limits, std::move(is_own), std::move(take));
}

}  // namespace postern::controller

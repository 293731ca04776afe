#include "tests/kernel/daemon/stepper.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>

#include "common/status.h"

namespace postern {
namespace {

constexpr int64_t kUnlimited = -1;

constexpr std::array kEffects = {SYS_pwrite64, SYS_fsync,  SYS_fdatasync, SYS_ftruncate, SYS_rename,
                                 SYS_unlink,   SYS_sendto, SYS_sendmsg,   SYS_sendmmsg};

// Has the kernel ask before each effect; the descriptor on which it does. Only
// system calls: this runs in a process that has just been forked.
int AskBeforeEffects() {
  constexpr size_t kCount = kEffects.size();
  std::array<sock_filter, kCount + 3> filter{};
  filter[0] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (size_t i = 0; i < kCount; ++i) {
    filter[i + 1] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(kEffects[i]),
                             static_cast<uint8_t>(kCount - i), 0);
  }
  filter[kCount + 1] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  filter[kCount + 2] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
  const sock_fprog program = {.len = filter.size(), .filter = filter.data()};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Stepper>> Stepper::Start(const Namespace& where,
                                                        const std::vector<std::string>& command,
                                                        const std::string& log) {
  // The child tells its descriptor's number, and waits until it has been taken.
  std::array<int, 2> told{};
  std::array<int, 2> taken{};
  if (pipe2(told.data(), O_CLOEXEC) != 0 || pipe2(taken.data(), O_CLOEXEC) != 0) {
    return ErrnoStatus(errno, "pipe");
  }
  const Fd told_read(told[0]);
  Fd told_write(told[1]);
  Fd taken_read(taken[0]);
  Fd taken_write(taken[1]);
  std::unique_ptr<Stepper> stepper(new Stepper);
  POSTERN_ASSIGN_OR_RETURN(stepper->process_, Process::Start(where, command, log, [&] {
                             const int listener = AskBeforeEffects();
                             [[maybe_unused]] ssize_t ignored =
                                 write(told_write.get(), &listener, sizeof listener);
                             close(taken_write.get());
                             char nothing = 0;
                             ignored = read(taken_read.get(), &nothing, 1);
                           }));
  told_write.Reset();
  int theirs = -1;
  if (read(told_read.get(), &theirs, sizeof theirs) != sizeof theirs || theirs < 0) {
    return absl::UnavailableError("the kernel has no seccomp notifications");
  }
  const Fd handle(static_cast<int>(syscall(SYS_pidfd_open, stepper->process_->pid(), 0)));
  stepper->requests_.Reset(static_cast<int>(syscall(SYS_pidfd_getfd, handle.get(), theirs, 0)));
  if (stepper->requests_.get() < 0) return ErrnoStatus(errno, "pidfd_getfd");
  stepper->stop_.Reset(eventfd(0, EFD_CLOEXEC));
  stepper->left_ = kUnlimited;
  stepper->attendant_ = std::thread([self = stepper.get()] { self->Attend(); });
  taken_write.Reset();
  return stepper;
}

Stepper::~Stepper() {
  process_->Kill();
  if (!attendant_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_.get(), &one, sizeof one);
  attendant_.join();
}

void Stepper::KillAfter(uint64_t effects) { left_ = static_cast<int64_t>(effects); }

void Stepper::Attend() {
  for (;;) {
    std::array<pollfd, 2> fds = {pollfd{.fd = requests_.get(), .events = POLLIN, .revents = 0},
                                 pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
    poll(fds.data(), fds.size(), -1);
    if (fds[1].revents != 0 || (fds[0].revents & POLLIN) == 0) return;
    seccomp_notif request{};
    if (ioctl(requests_.get(), SECCOMP_IOCTL_NOTIF_RECV, &request) != 0) continue;
    const int64_t left = left_;
    if (left == 0) {
      killed_ = true;
      process_->Signal(SIGKILL);
      return;
    }
    // Nobody else changes it once it is not kUnlimited.
    if (left > 0) left_ = left - 1;
    seccomp_notif_resp go{};
    go.id = request.id;
    go.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(requests_.get(), SECCOMP_IOCTL_NOTIF_SEND, &go);
  }
}

}  // namespace postern

#include <pwd.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cli/channel.h"
#include "cli/environment.h"
#include "cli/exit_code.h"
#include "cli/run.h"
#include "common/status.h"

namespace {

// A descriptor that is readable after an interrupt, and once nobody reads stdout
// any more. Threads started later inherit the blocked signals.
absl::StatusOr<int> OpenStopFd() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  const int blocked = pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  if (blocked != 0) return postern::ErrnoStatus(blocked, "signals");
  const int interrupts = signalfd(-1, &signals, SFD_CLOEXEC);
  const int either = epoll_create1(EPOLL_CLOEXEC);
  epoll_event wanted{.events = EPOLLIN, .data = {}};
  if (interrupts < 0 || either < 0 || epoll_ctl(either, EPOLL_CTL_ADD, interrupts, &wanted) != 0) {
    return postern::ErrnoStatus(errno, "signals");
  }
  // EPERM is no error: a file has readers for ever.
  epoll_event closed{.events = EPOLLERR, .data = {}};
  if (epoll_ctl(either, EPOLL_CTL_ADD, STDOUT_FILENO, &closed) != 0 && errno != EPERM) {
    return postern::ErrnoStatus(errno, "stdout");
  }
  return either;
}

absl::Status Become(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  return postern::ErrnoStatus(errno, absl::StrCat("running ", arguments[0]));
}

std::string UserName() {
  const passwd* entry = getpwuid(geteuid());
  return entry == nullptr ? "" : entry->pw_name;
}

postern::Environment FromProcess() {
  postern::Environment environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const absl::string_view text(*variable);
    const size_t equals = text.find('=');
    if (equals == absl::string_view::npos) continue;
    environment.variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  environment.user = UserName();
  environment.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) environment.columns = size.ws_col;
  environment.zone = absl::LocalTimeZone();
  environment.open_stop_fd = OpenStopFd;
  environment.become = Become;
  return environment;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    postern::UseSystemResolver();
    return postern::Run(argc, argv, FromProcess(), std::cout, std::cerr);
  } catch (const std::exception& error) {
    std::cerr << "posternctl: " << error.what() << "\n";
    return postern::kExitFailed;
  }
}

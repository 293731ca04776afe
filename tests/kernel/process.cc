#include "tests/kernel/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern {
namespace {

// The sum of the numbers in the lines of `path` that contain `label`.
absl::StatusOr<uint64_t> SumOf(const std::string& path, const std::string& label) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat(path, " cannot be read"));
  uint64_t sum = 0;
  bool found = false;
  for (std::string line; std::getline(file, line);) {
    if (!absl::StrContains(line, label)) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    uint64_t number = 0;
    words >> number;
    sum += number;
    found = true;
  }
  if (!found) return absl::NotFoundError(absl::StrCat(path, " has no ", label));
  return sum;
}

[[noreturn]] void Become(const std::vector<char*>& argv, int log,
                         absl::FunctionRef<void()> prepare) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  prepare();
  execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

Inside::Inside(const Namespace& where) : home_(open("/proc/thread-self/ns/net", O_RDONLY)) {
  if (home_.get() < 0 || setns(where.fd(), CLONE_NEWNET) < 0) {
    status_ = ErrnoStatus(errno, "enter a network namespace");
  }
}

Inside::~Inside() { setns(home_.get(), CLONE_NEWNET); }

absl::StatusOr<std::unique_ptr<Process>> Process::Start(const Namespace& where,
                                                        const std::vector<std::string>& command,
                                                        const std::string& log,
                                                        absl::FunctionRef<void()> prepare) {
  std::vector<std::string> words = command;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  const Inside inside(where);
  POSTERN_RETURN_IF_ERROR(inside.status());
  const Fd fd(open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (fd.get() < 0) return ErrnoStatus(errno, log);
  const pid_t pid = fork();
  if (pid == 0) Become(argv, fd.get(), prepare);
  if (pid < 0) return ErrnoStatus(errno, "fork");
  return std::unique_ptr<Process>(new Process(pid, log));
}

Process::~Process() { Kill(); }

void Process::Signal(int number) const {
  if (!status_) kill(pid_, number);
}

absl::StatusOr<int> Process::Wait(absl::Duration patience) {
  if (status_) return *status_;
  // glibc 2.36 declares pidfd_open(2) for C only.
  const Fd handle(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  if (handle.get() < 0) return ErrnoStatus(errno, "pidfd_open");
  pollfd ended{.fd = handle.get(), .events = POLLIN, .revents = 0};
  if (poll(&ended, 1, static_cast<int>(absl::ToInt64Milliseconds(patience))) != 1) {
    return absl::DeadlineExceededError(
        absl::StrCat("the program has not ended; it said:\n", Log()));
  }
  int status = 0;
  if (waitpid(pid_, &status, 0) != pid_) return ErrnoStatus(errno, "waitpid");
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return *status_;
}

void Process::Kill() {
  if (status_) return;
  Signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
  status_ = 128 + SIGKILL;
}

std::string Process::Log() const {
  std::ifstream file(log_);
  return {std::istreambuf_iterator<char>(file), {}};
}

absl::Status Process::Alive() const {
  siginfo_t ended{};
  if (!status_ &&
      waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
      ended.si_pid == 0) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("the program has ended; it said:\n", Log()));
}

absl::StatusOr<std::map<std::string, uint64_t>> Process::ContextSwitches() const {
  std::map<std::string, uint64_t> threads;
  std::error_code error;
  for (const auto& task :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid_, "/task"), error)) {
    POSTERN_ASSIGN_OR_RETURN(threads[task.path().filename()],
                             SumOf(task.path() / "status", "voluntary_ctxt_switches"));
  }
  if (error) return ErrnoStatus(error.value(), "reading the program's threads");
  return threads;
}

absl::StatusOr<uint64_t> Process::RssKib() const {
  // Unlike VmRSS in status, exact.
  return SumOf(absl::StrCat("/proc/", pid_, "/smaps_rollup"), "Rss:");
}

absl::StatusOr<uint64_t> Process::PeakRssKib() const {
  return SumOf(absl::StrCat("/proc/", pid_, "/status"), "VmHWM:");
}

}  // namespace postern

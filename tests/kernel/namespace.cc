#include "tests/kernel/namespace.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr char kRemedy[] =
    "; run as root, or allow user namespaces (user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone)";

absl::Status WriteFile(const char* path, const std::string& content) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, path);
  const ssize_t written = write(fd, content.data(), content.size());
  const int error = errno;
  close(fd);
  if (written != static_cast<ssize_t>(content.size())) return ErrnoStatus(error, path);
  return absl::OkStatus();
}

bool started_as_root = false;
absl::Status entered;

absl::Status EnterUserNamespace() {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(CLONE_NEWUSER) < 0) {
    return ErrnoStatus(errno, absl::StrCat("make a user namespace", kRemedy));
  }
  POSTERN_RETURN_IF_ERROR(WriteFile("/proc/self/setgroups", "deny"));
  POSTERN_RETURN_IF_ERROR(WriteFile("/proc/self/uid_map", absl::StrCat("0 ", user, " 1")));
  return WriteFile("/proc/self/gid_map", absl::StrCat("0 ", group, " 1"));
}

// Only a process of one thread can enter a user namespace: before the tests.
class UserNamespace : public testing::Environment {
 public:
  void SetUp() override {
    started_as_root = geteuid() == 0;
    if (!started_as_root) entered = EnterUserNamespace();
  }
};
[[maybe_unused]] const testing::Environment* const environment =
    testing::AddGlobalTestEnvironment(new UserNamespace);

}  // namespace

bool IsPrivileged() { return started_as_root; }

absl::StatusOr<std::unique_ptr<Namespace>> Namespace::Create() {
  POSTERN_RETURN_IF_ERROR(entered);
  int fd = -1;
  int error = 0;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) < 0) {
      error = errno;
      return;
    }
    fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0) error = errno;
  }).join();
  if (fd < 0) return ErrnoStatus(error, absl::StrCat("make a network namespace", kRemedy));
  std::unique_ptr<Namespace> made(new Namespace(fd));
  POSTERN_RETURN_IF_ERROR(made->Ip({"link", "set", "lo", "up"}));
  return made;
}

Namespace::~Namespace() { close(fd_); }

void Namespace::Run(absl::FunctionRef<void()> action) const {
  std::thread([this, action] {
    if (setns(fd_, CLONE_NEWNET) < 0) {
      ADD_FAILURE() << ErrnoStatus(errno, "enter a network namespace");
      return;
    }
    action();
  }).join();
}

absl::Status Namespace::Program(const std::vector<std::string>& words) const {
  std::vector<std::string> copies = words;
  std::vector<char*> argv;
  argv.reserve(copies.size() + 1);
  for (std::string& word : copies) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  int error = 0;
  int status = 0;
  Run([&] {
    pid_t child = 0;
    error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
    if (error == 0 && waitpid(child, &status, 0) < 0) error = errno;
  });
  posix_spawn_file_actions_destroy(&actions);
  const std::string command = absl::StrJoin(words, " ");
  if (error != 0) return ErrnoStatus(error, command);
  if (status != 0) return absl::UnknownError(absl::StrCat(command, ": wait status ", status));
  return absl::OkStatus();
}

absl::Status Namespace::Ip(const std::vector<std::string>& arguments) const {
  std::vector<std::string> words = {"ip"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return Program(words);
}

absl::Status Namespace::Connect(const std::string& interface, const Namespace& other,
                                const std::string& other_interface) const {
  POSTERN_RETURN_IF_ERROR(
      Ip({"link", "add", interface, "type", "veth", "peer", "name", other_interface, "netns",
          absl::StrCat("/proc/", getpid(), "/fd/", other.fd())}));
  POSTERN_RETURN_IF_ERROR(Ip({"link", "set", interface, "up"}));
  return other.Ip({"link", "set", other_interface, "up"});
}

absl::Status Namespace::AddAddress(const std::string& interface, const std::string& address) const {
  std::vector<std::string> arguments = {"address", "add", address, "dev", interface};
  // Otherwise an IPv6 address waits for duplicates to be detected.
  if (absl::StrContains(address, ':')) arguments.emplace_back("nodad");
  return Ip(arguments);
}

}  // namespace postern

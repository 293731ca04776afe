// Network namespaces that a test makes for itself, without names, gone with the
// process. As another user than root, the whole test program first enters a user
// namespace of its own.

#ifndef POSTERN_TESTS_KERNEL_NAMESPACE_H_
#define POSTERN_TESTS_KERNEL_NAMESPACE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace postern {

class Namespace {
 public:
  // With its loopback interface up. The error says what is missing; a test
  // asserts that there is none.
  static absl::StatusOr<std::unique_ptr<Namespace>> Create();

  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;
  ~Namespace();

  // Runs `action` inside, on a thread of its own, and returns when it is done.
  // What it opens (sockets, firewalls) stays inside. EXPECT works in it; ASSERT
  // only leaves `action`.
  void Run(absl::FunctionRef<void()> action) const;

  // Runs a program inside, without its output; an error unless it ends with 0.
  absl::Status Program(const std::vector<std::string>& words) const;

  // Runs ip(8) inside: {"address", "add", "192.0.2.1/24", "dev", "eth0"}.
  absl::Status Ip(const std::vector<std::string>& arguments) const;

  // Makes a pair of interfaces, one here and one in `other`, both up.
  absl::Status Connect(const std::string& interface, const Namespace& other,
                       const std::string& other_interface) const;

  // Gives an interface an address with its prefix length ("2001:db8::1/64"),
  // usable at once.
  absl::Status AddAddress(const std::string& interface, const std::string& address) const;

  // For setns(2).
  int fd() const { return fd_; }

 private:
  explicit Namespace(int fd) : fd_(fd) {}

  int fd_;
};

// True where this process may do everything in the first user namespace; in a
// user namespace of its own some limits cannot be raised.
bool IsPrivileged();

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_NAMESPACE_H_

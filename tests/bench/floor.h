// The two parts of a grant that nobody can leave out, on their own.

#ifndef POSTERN_TESTS_BENCH_FLOOR_H_
#define POSTERN_TESTS_BENCH_FLOOR_H_

#include <libmnl/libmnl.h>
#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/kernel/namespace.h"

namespace postern::bench {

// One hash set with timeouts, in a table of its own, and commits of one element.
class RawCommit {
 public:
  // The set holds `elements` to begin with.
  static absl::StatusOr<std::unique_ptr<RawCommit>> Open(const Namespace& where, uint32_t elements);

  // Adds an element that is not there and waits for the kernel's answer.
  absl::Status Add();
  // Takes the last one away.
  absl::Status Remove();

 private:
  struct CloseSocket {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };

  // Builds a batch of what `add_messages` adds, sends it, and waits for the
  // answer to its last message.
  absl::Status Commit(absl::FunctionRef<void(mnl_nlmsg_batch*)> add_messages);
  nlmsghdr* Message(mnl_nlmsg_batch* batch, uint16_t type, uint16_t flags);
  // A message about `count` elements from `first` on.
  void Elements(mnl_nlmsg_batch* batch, bool add, uint32_t first, uint32_t count);
  absl::Status Answer();

  std::unique_ptr<mnl_socket, CloseSocket> socket_;
  std::vector<char> buffer_ = std::vector<char>(size_t{64} << 10);
  uint32_t sequence_ = 0;
  uint32_t next_element_ = 0;
};

// One table in WAL mode, one row at a time, durable when Insert returns.
class DurableInsert {
 public:
  static absl::StatusOr<std::unique_ptr<DurableInsert>> Open(const std::string& path);

  absl::Status Insert(const std::string& text);

 private:
  struct Close {
    void operator()(sqlite3* database) const { sqlite3_close(database); }
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };

  std::unique_ptr<sqlite3, Close> database_;
  std::unique_ptr<sqlite3_stmt, Close> insert_;
};

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_FLOOR_H_

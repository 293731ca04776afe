// A PostgreSQL server of a test's own, on a socket in a directory of its own.

#ifndef POSTERN_TESTS_SUPPORT_POSTGRES_H_
#define POSTERN_TESTS_SUPPORT_POSTGRES_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace postern {

struct PostgresOptions {
  // What is committed outlives the machine, with the memory that Debian's server has:
  // for measuring. Tests are about transactions, not about the disk under them.
  bool durable = false;
  // Reached by TCP on loopback, with TLS, and not by its socket.
  bool tls = false;
};

// Debian's postgresql-15, run as the user postgres where the test is root, which
// the server refuses to be. Killed and removed with the object.
class PostgresServer {
 public:
  // Makes an empty cluster and starts it.
  static absl::StatusOr<std::unique_ptr<PostgresServer>> Start(const PostgresOptions& options = {});
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;
  ~PostgresServer();

  // For libpq, of a database that is new and empty at each call.
  absl::StatusOr<std::string> NewDatabase();

  // SIGKILL to the server and its children; Run starts it again.
  void Kill();
  absl::Status Run();

  // From Freeze to Thaw the server and its children do nothing: connections are made
  // by the kernel, and nobody answers on any.
  void Freeze() const;
  void Thaw() const;

 private:
  PostgresServer(std::string directory, const PostgresOptions& options)
      : directory_(std::move(directory)), options_(options) {}
  absl::Status PrepareTls();
  std::string Conninfo(const std::string& database) const;
  void Signal(int number) const;

  const std::string directory_;
  const PostgresOptions options_;
  pid_t pid_ = -1;
  int databases_ = 0;
  // For TLS.
  uint16_t port_ = 0;
};

}  // namespace postern

#endif  // POSTERN_TESTS_SUPPORT_POSTGRES_H_

#include "tests/support/postgres.h"

#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/fd.h"
#include "common/status.h"
#include "tests/support/certificates.h"

namespace postern {
namespace {

constexpr char kPrograms[] = "/usr/lib/postgresql/15/bin/";
constexpr int kMostWaits = 600;
constexpr absl::Duration kWait = absl::Milliseconds(50);

const passwd* ServerUser() { return geteuid() == 0 ? getpwnam("postgres") : nullptr; }

// Starts `command` as the server's user, in a process group of its own, with
// what it says in `log`.
pid_t Spawn(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const passwd* user = ServerUser();
  const pid_t pid = fork();
  if (pid != 0) return pid;
  setpgid(0, 0);
  if (user != nullptr &&
      (setgroups(0, nullptr) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) {
    _exit(127);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  execv(arguments[0], arguments.data());
  _exit(127);
}

std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};

}  // namespace

absl::StatusOr<std::unique_ptr<PostgresServer>> PostgresServer::Start(
    const PostgresOptions& options) {
  std::string directory = "/tmp/postern-postgres-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return ErrnoStatus(errno, "making a directory");
  std::unique_ptr<PostgresServer> server(new PostgresServer(directory, options));
  const passwd* user = ServerUser();
  if (user != nullptr && chown(directory.c_str(), user->pw_uid, user->pw_gid) != 0) {
    return ErrnoStatus(errno, absl::StrCat("giving ", directory, " to postgres"));
  }
  const std::string log = absl::StrCat(directory, "/initdb.log");
  const pid_t initdb =
      Spawn({absl::StrCat(kPrograms, "initdb"), "-D", absl::StrCat(directory, "/data"), "-U",
             "postern", "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8"},
            log);
  int status = 0;
  if (waitpid(initdb, &status, 0) != initdb || status != 0) {
    return absl::InternalError(
        absl::StrCat("initdb (of Debian's postgresql-15): ", status, ": ", ContentOf(log)));
  }
  if (options.tls) POSTERN_RETURN_IF_ERROR(server->PrepareTls());
  POSTERN_RETURN_IF_ERROR(server->Run());
  return server;
}

PostgresServer::~PostgresServer() {
  Kill();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

absl::Status PostgresServer::Run() {
  const std::string log = absl::StrCat(directory_, "/server.log");
  std::vector<std::string> command = {absl::StrCat(kPrograms, "postgres"),
                                      "-D",
                                      absl::StrCat(directory_, "/data"),
                                      "-k",
                                      directory_,
                                      "-c",
                                      "listen_addresses=",
                                      "-c",
                                      "max_connections=40"};
  if (!options_.durable) {
    command.insert(command.end(), {"-c", "fsync=off", "-c", "shared_buffers=16MB"});
  }
  if (options_.tls) {
    command.insert(command.end(),
                   {"-c", "listen_addresses=127.0.0.1", "-c", absl::StrCat("port=", port_), "-c",
                    "ssl=on", "-c", absl::StrCat("ssl_cert_file=", directory_, "/tls.pem"), "-c",
                    absl::StrCat("ssl_key_file=", directory_, "/tls.key")});
  }
  pid_ = Spawn(command, log);
  for (int wait = 0; wait < kMostWaits; ++wait) {
    // It refuses to start while a child of the one that was killed is not gone yet.
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = Spawn(command, log);
    if (PQping(Conninfo("postgres").c_str()) == PQPING_OK) return absl::OkStatus();
    absl::SleepFor(kWait);
  }
  return absl::DeadlineExceededError(absl::StrCat("PostgreSQL: ", ContentOf(log)));
}

// Its children have sessions of their own, and go on for a moment without it.
void PostgresServer::Signal(int number) const {
  // It makes no more of them meanwhile.
  kill(pid_, SIGSTOP);
  const std::string children = ContentOf(absl::StrCat("/proc/", pid_, "/task/", pid_, "/children"));
  kill(pid_, number);
  std::istringstream pids(children);
  for (pid_t child = 0; pids >> child;) kill(child, number);
}

void PostgresServer::Freeze() const { Signal(SIGSTOP); }

void PostgresServer::Thaw() const { Signal(SIGCONT); }

void PostgresServer::Kill() {
  if (pid_ <= 0) return;
  Signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

absl::Status PostgresServer::PrepareTls() {
  const Identity identity = TestAuthority("postgres").Issue({.names = {"IP:127.0.0.1"}});
  for (const auto& [name, pem] :
       {std::pair("/tls.pem", identity.cert), {"/tls.key", identity.key}}) {
    const std::string path = absl::StrCat(directory_, name);
    std::ofstream(path) << pem;
    const passwd* user = ServerUser();
    if (chmod(path.c_str(), S_IRUSR) != 0 ||
        (user != nullptr && chown(path.c_str(), user->pw_uid, user->pw_gid) != 0)) {
      return ErrnoStatus(errno, absl::StrCat("giving ", path, " to postgres"));
    }
  }
  const Fd free(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET,
                      .sin_port = 0,
                      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                      .sin_zero = {}};
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (bind(free.get(), any, size) != 0 || getsockname(free.get(), any, &size) != 0) {
    return ErrnoStatus(errno, "looking for a free port");
  }
  port_ = ntohs(address.sin_port);
  return absl::OkStatus();
}

std::string PostgresServer::Conninfo(const std::string& database) const {
  if (options_.tls) {
    return absl::StrCat("host=127.0.0.1 port=", port_,
                        " sslmode=require user=postern dbname=", database);
  }
  return absl::StrCat("host=", directory_, " user=postern dbname=", database);
}

absl::StatusOr<std::string> PostgresServer::NewDatabase() {
  const std::string name = absl::StrCat("test", ++databases_);
  const std::unique_ptr<PGconn, Finish> connection(PQconnectdb(Conninfo("postgres").c_str()));
  PGresult* result = PQexec(connection.get(), absl::StrCat("CREATE DATABASE ", name).c_str());
  const bool made = PQresultStatus(result) == PGRES_COMMAND_OK;
  PQclear(result);
  if (!made) return absl::InternalError(PQerrorMessage(connection.get()));
  return Conninfo(name);
}

}  // namespace postern

#include "tests/bench/supervise.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "tests/support/temporary_directory.h"

namespace postern::bench {
namespace {

pid_t measuring = 0;

void PassOn(int number) { kill(measuring, number); }

}  // namespace

int Supervise(const std::string& parent,
              const std::function<int(const std::string& directory)>& measure) {
  setenv("TMPDIR", parent.c_str(), 1);
  const TemporaryDirectory directory;
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  measuring = fork();
  if (measuring == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(measure(directory.Path("")));
  }
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) std::signal(number, PassOn);
  int result = 1;
  int status = 0;
  // Orphans of the measuring process come to this one.
  for (pid_t ended = 0; (ended = waitpid(-1, &status, 0)) > 0 || errno == EINTR;) {
    if (ended == measuring) result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }
  return result;
}

}  // namespace postern::bench

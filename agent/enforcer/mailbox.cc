#include "agent/enforcer/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace postern {

Mailbox::Mailbox() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) {
    std::perror("eventfd");
    std::abort();
  }
}

Mailbox::~Mailbox() { close(fd_); }

absl::Status Mailbox::Submit(Command command) {
  const std::lock_guard lock(mutex_);
  if (absl::Status status = Admit(); !status.ok()) return status;
  if (IsEmpty()) Wake();
  commands_.push_back(std::move(command));
  return absl::OkStatus();
}

absl::Status Mailbox::Ask(Query query) {
  const std::lock_guard lock(mutex_);
  if (absl::Status status = Admit(); !status.ok()) return status;
  if (IsEmpty()) Wake();
  queries_.push_back(std::move(query));
  return absl::OkStatus();
}

absl::Status Mailbox::Admit() const {
  if (closed_) return absl::UnavailableError("the agent is stopping");
  if (commands_.size() + queries_.size() >= kCapacity) {
    return absl::ResourceExhaustedError("the agent has too many requests waiting; try again");
  }
  return absl::OkStatus();
}

bool Mailbox::IsEmpty() const { return commands_.empty() && queries_.empty(); }

void Mailbox::Wake() const {
  const uint64_t one = 1;
  // Cannot fail short of 2^64 - 2 wake-ups between two reads.
  [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof one);
}

void Mailbox::Drain(Gatekeeper& gatekeeper) {
  uint64_t wakes = 0;
  [[maybe_unused]] const ssize_t got = read(fd_, &wakes, sizeof wakes);
  std::vector<Command> commands;
  std::vector<Query> queries;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
    queries.swap(queries_);
  }
  if (!commands.empty()) gatekeeper.Execute(std::move(commands));
  for (const Query& query : queries) query(gatekeeper);
}

void Mailbox::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

}  // namespace postern

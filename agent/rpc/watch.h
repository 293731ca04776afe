// Readers of the audit as it grows.

#ifndef POSTERN_AGENT_RPC_WATCH_H_
#define POSTERN_AGENT_RPC_WATCH_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent/enforcer/mailbox.h"
#include "agent/grants/audit.h"

namespace postern {

// What a stream sends, one message after the other. Any thread.
class StreamSource {
 public:
  // A serialised message; readers of the same event share it.
  using Message = std::shared_ptr<const std::string>;

  struct Next {
    // The reader may be told that it will miss nothing from now on.
    bool subscribed = false;
    // Null when there is nothing to send now.
    Message message;
    // Ends the stream, ahead of all messages.
    std::optional<absl::Status> end;
  };

  virtual ~StreamSource() = default;
  virtual Next Take() = 0;
  virtual bool HasEnded() = 0;
};

// One reader's place in the audit: first the past, page by page as fast as it
// reads, then what happens, from a bounded queue; without a gap or a repeat.
class Watch final : public StreamSource, public std::enable_shared_from_this<Watch> {
 public:
  // Events that wait for a reader before it is given up.
  static constexpr size_t kMaxWaiting = 1024;
  static constexpr size_t kPage = 256;

  // `wake` is called, from any thread and with no lock held, whenever Take may
  // have something new.
  Watch(Mailbox& mailbox, uint64_t after, std::function<void()> wake)
      : mailbox_(mailbox), wake_(std::move(wake)), after_(after) {}

  // Once, before all else.
  void Begin() { Refill(); }

  Next Take() override;
  bool HasEnded() override;

  // An event that has just become durable, and its serialised form.
  void Offer(uint64_t number, const Message& message);

 private:
  enum class Phase {
    // A page has been asked for.
    kReading,
    // The past is not all read, and the next page not asked for.
    kBehind,
    // The queue ends with the newest event.
    kLive,
  };
  struct Waiting {
    uint64_t number = 0;
    Message message;
  };

  // Asks the gatekeeper for the next page. Without the lock.
  void Refill();
  void ReadPage(Gatekeeper& gatekeeper);
  absl::Status ReadPageLocked(Gatekeeper& gatekeeper);

  Mailbox& mailbox_;
  const std::function<void()> wake_;
  const uint64_t after_;

  std::mutex mutex_;
  Phase phase_ = Phase::kReading;
  bool subscribed_ = false;
  // The last event that was queued, and the last that the reader took.
  uint64_t queued_ = 0;
  uint64_t taken_ = 0;
  // The greatest number that was offered.
  uint64_t offered_ = 0;
  std::deque<Waiting> queue_;
  std::optional<absl::Status> end_;
};

// All readers. Any thread.
class Watchers {
 public:
  explicit Watchers(Mailbox& mailbox) : mailbox_(mailbox) {}

  // A reader of the events after number `after`; 0 is the newest one. It is told
  // until it is destroyed.
  std::shared_ptr<Watch> Add(uint64_t after, std::function<void()> wake);

  void Announce(const AuditEvent& event);

 private:
  std::vector<std::shared_ptr<Watch>> Living();

  Mailbox& mailbox_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<Watch>> watches_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_WATCH_H_

#include "tests/kernel/chaos/clients.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/kernel/chaos/probes.h"

namespace postern::chaos {
namespace {

constexpr size_t kClients = 6;
constexpr int kMostPauseUs = 3000;
constexpr int64_t kShortestMs = 200;
constexpr int64_t kLongestMs = 2500;
// Some outlive many daemons.
constexpr absl::Duration kLong = absl::Seconds(20);
constexpr absl::Duration kExtension = absl::Seconds(1);

// The daemon may have died before the answer, or before it read the question.
bool IsUnanswered(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::UNAVAILABLE:
    case grpc::CANCELLED:
    case grpc::UNKNOWN:
    case grpc::INTERNAL:
      return true;
    default:
      return false;
  }
}

v1::CreateGrantRequest RequestFor(size_t slot, absl::Duration duration) {
  v1::CreateGrantRequest request = NewGrant(PrefixOf(slot), duration);
  constexpr std::array<v1::OnExpiry, 3> kKinds = {v1::KEEP, v1::CUT, v1::RESET};
  request.set_on_expiry(kKinds[slot % kKinds.size()]);
  return request;
}

}  // namespace

class Clients::Client {
 public:
  Client(Clients& all, std::vector<size_t> slots, uint64_t seed)
      : all_(all), slots_(std::move(slots)), random_(seed) {}

  void Run() {
    uint64_t daemon = 0;
    while (all_.AwaitNext(daemon)) {
      stub_ = all_.host_.Local();
      if (!FindOut()) continue;
      while (!all_.finishing() && Act()) {
        absl::SleepFor(absl::Microseconds(static_cast<int64_t>(random_() % kMostPauseUs)));
      }
    }
  }

 private:
  // Each returns false when the daemon is gone.
  bool Act() {
    const uint64_t choice = random_() % 10;
    Story* const story = choice < 5 ? nullptr : ChooseLive();
    if (story == nullptr) return Make();
    if (choice < 7) return Prolong(*story);
    return choice < 8 ? Shift(*story) : Withdraw(*story);
  }

  bool Make() {
    const size_t slot = slots_[random_() % slots_.size()];
    const auto span = static_cast<int64_t>(random_() % (kLongestMs - kShortestMs));
    request_ =
        RequestFor(slot, random_() % 20 == 0 ? kLong : absl::Milliseconds(kShortestMs + span));
    Story* const story = all_.history_.Begin(request_.id(), slot, clock_.Read().boot);
    return Settle(*story, Create(*stub_, request_));
  }

  bool Prolong(Story& story) {
    all_.history_.ExtendSent(story, kExtension);
    return Settle(story, Extend(*stub_, story.id, kExtension));
  }

  bool Shift(Story& story) {
    const size_t slot = slots_[random_() % slots_.size()];
    all_.history_.MoveSent(story, slot);
    return Settle(story, Move(*stub_, story.id, PrefixOf(slot)));
  }

  bool Withdraw(Story& story) {
    all_.history_.RevokeSent(story);
    return Settle(story, Revoke(*stub_, story.id));
  }

  // Takes an answer to whatever call is pending.
  bool Settle(Story& story, const Answer& answer) {
    if (IsUnanswered(answer.status)) {
      unanswered_ = &story;
      const std::lock_guard lock(all_.mutex_);
      ++all_.counts_.unanswered;
      return false;
    }
    if (answer.status.ok()) {
      Believe(story, answer.grant);
    } else if (answer.status.error_code() == grpc::FAILED_PRECONDITION &&
               (story.pending == Pending::kExtend || story.pending == Pending::kMove)) {
      // It ended meanwhile.
      return Settle(story, Get(*stub_, story.id));
    } else if (answer.status.error_code() == grpc::NOT_FOUND && !story.acknowledged) {
      all_.history_.Never(story);
      const std::lock_guard lock(all_.mutex_);
      ++all_.counts_.undone;
    } else {
      all_.history_.Never(story);
      Complain(story, absl::StrCat("was answered ", answer.status.error_code(), ": ",
                                   answer.status.error_message()));
    }
    return true;
  }

  void Believe(Story& story, const v1::Grant& grant) {
    const Pending asked = story.pending;
    const bool was_acknowledged = story.acknowledged;
    bool was_moved = false;
    switch (grant.state()) {
      case v1::ACTIVE:
        if (asked == Pending::kMove) {
          was_moved = grant.source_prefixes(0) == PrefixOf(story.places.back().slot);
          all_.history_.Moved(story, was_moved);
        }
        all_.history_.Live(story, ToTime(grant.end_time()));
        live_[story.id] = &story;
        break;
      case v1::EXPIRED:
        all_.history_.Ended(story, ToTime(grant.end_time()));
        live_.erase(story.id);
        break;
      case v1::REVOKED:
        all_.history_.Revoked(story);
        live_.erase(story.id);
        if (asked != Pending::kRevoke) Complain(story, "is revoked, and nobody asked for that");
        break;
      default:
        Complain(story, absl::StrCat("has the state ", grant.state()));
    }
    const std::lock_guard lock(all_.mutex_);
    ClientCounts& counts = all_.counts_;
    if (asked == Pending::kCreate && !was_acknowledged) ++counts.acknowledged;
    if (asked == Pending::kExtend && grant.state() == v1::ACTIVE) ++counts.extended;
    if (was_moved) ++counts.moved;
    if (asked == Pending::kRevoke && grant.state() == v1::REVOKED) ++counts.revoked;
  }

  // Asks the new daemon what the old one left open: by the same request again,
  // as clients do, or by looking.
  bool FindOut() {
    if (unanswered_ == nullptr) return true;
    Story& story = *std::exchange(unanswered_, nullptr);
    if (random_() % 2 == 0) return Settle(story, Get(*stub_, story.id));
    switch (story.pending) {
      case Pending::kCreate:
        return Settle(story, Create(*stub_, request_));
      case Pending::kRevoke:
        return Settle(story, Revoke(*stub_, story.id));
      default:
        // A second extension would add a second time, and a move be one from elsewhere.
        return Settle(story, Get(*stub_, story.id));
    }
  }

  Story* ChooseLive() {
    const absl::Time now = absl::Now();
    std::erase_if(live_, [now](const auto& entry) { return entry.second->end <= now; });
    if (live_.empty()) return nullptr;
    auto chosen = live_.begin();
    std::advance(chosen, static_cast<std::ptrdiff_t>(random_() % live_.size()));
    return chosen->second;
  }

  void Complain(const Story& story, const std::string& what) {
    const std::lock_guard lock(all_.mutex_);
    all_.complaints_.push_back(absl::StrCat("grant ", story.id, " ", what));
  }

  Clients& all_;
  const SystemClock clock_;
  const std::vector<size_t> slots_;
  std::mt19937_64 random_;
  std::unique_ptr<v1::AgentService::Stub> stub_;
  // The last one that was made, to be asked for again.
  v1::CreateGrantRequest request_;
  std::map<std::string, Story*> live_;
  Story* unanswered_ = nullptr;
};

Clients::Clients(const DaemonHost& host, History& history, size_t slots, uint64_t seed)
    : host_(host), history_(history) {
  for (size_t i = 0; i < kClients; ++i) {
    std::vector<size_t> own;
    for (size_t slot = i; slot < slots; slot += kClients) own.push_back(slot);
    clients_.push_back(std::make_unique<Client>(*this, std::move(own), seed + i));
  }
  for (const auto& client : clients_) threads_.emplace_back([&client] { client->Run(); });
}

Clients::~Clients() { Finish(); }

bool Clients::AwaitNext(uint64_t& number) {
  std::unique_lock lock(mutex_);
  ++parked_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return daemon_ > number || finishing_; });
  --parked_;
  number = daemon_;
  return !finishing_;
}

bool Clients::finishing() {
  const std::lock_guard lock(mutex_);
  return finishing_;
}

void Clients::Resume() {
  const std::lock_guard lock(mutex_);
  ++daemon_;
  changed_.notify_all();
}

void Clients::AwaitAllParked() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return parked_ == threads_.size(); });
}

void Clients::Finish() {
  {
    const std::lock_guard lock(mutex_);
    finishing_ = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

ClientCounts Clients::counts() {
  const std::lock_guard lock(mutex_);
  return counts_;
}

std::vector<std::string> Clients::complaints() {
  const std::lock_guard lock(mutex_);
  return complaints_;
}

}  // namespace postern::chaos

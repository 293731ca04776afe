#include "agent/app/agent_clock.h"

#include <systemd/sd-bus.h>
#include <unistd.h>

#include <utility>

namespace postern {
namespace {

constexpr absl::Duration kAskEvery = absl::Seconds(1);
constexpr uint64_t kAnswerWithinMicroseconds = 10'000'000;

constexpr char kTimedated[] = "org.freedesktop.timedate1";

}  // namespace

// One question, on a connection of its own: at a boot there may be no bus yet, and
// a bus that is started again knows nothing of old connections.
class AgentClock::Question {
 public:
  Question(sd_event* loop, const std::string& bus, std::function<void(bool)> answer)
      : answer_(std::move(answer)) {
    open_ = sd_bus_new(&bus_) >= 0 && sd_bus_set_address(bus_, bus.c_str()) >= 0 &&
            sd_bus_set_bus_client(bus_, 1) >= 0 && sd_bus_start(bus_) >= 0 &&
            sd_bus_attach_event(bus_, loop, SD_EVENT_PRIORITY_NORMAL) >= 0 && Ask() >= 0;
  }
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;
  ~Question() {
    sd_bus_slot_unref(slot_);
    sd_bus_close_unref(bus_);
  }

  // Whether the answer is still to come.
  bool is_open() const { return open_; }

 private:
  int Ask() {
    sd_bus_message* get = nullptr;
    int result =
        sd_bus_message_new_method_call(bus_, &get, kTimedated, "/org/freedesktop/timedate1",
                                       "org.freedesktop.DBus.Properties", "Get");
    if (result >= 0) result = sd_bus_message_append(get, "ss", kTimedated, "NTPSynchronized");
    if (result >= 0) {
      result = sd_bus_call_async(bus_, &slot_, get, OnAnswer, this, kAnswerWithinMicroseconds);
    }
    sd_bus_message_unref(get);
    return result;
  }

  // Also where there is none: the bus is gone, or its time is over.
  static int OnAnswer(sd_bus_message* reply, void* data, sd_bus_error* /*error*/) {
    auto* question = static_cast<Question*>(data);
    int synchronised = 0;
    const bool answered = sd_bus_message_is_method_error(reply, nullptr) == 0 &&
                          sd_bus_message_read(reply, "v", "b", &synchronised) >= 0;
    question->open_ = false;
    question->answer_(answered && synchronised != 0);
    return 0;
  }

  const std::function<void(bool)> answer_;
  sd_bus* bus_ = nullptr;
  sd_bus_slot* slot_ = nullptr;
  bool open_ = false;
};

AgentClock::AgentClock(sd_event* loop, Sources sources)
    : loop_(loop), sources_(std::move(sources)) {}

AgentClock::~AgentClock() = default;

bool AgentClock::IsSynchronised() const {
  if (sources_.kernel() || access(sources_.timesyncd.c_str(), F_OK) == 0) return true;
  const BootTime now = system_.Read().boot;
  const bool waits = question_ != nullptr && question_->is_open();
  if (!waits && (!asked_at_ || now >= *asked_at_ + kAskEvery)) {
    asked_at_ = now;
    question_ = std::make_unique<Question>(loop_, sources_.bus,
                                           [this](bool says_so) { timedated_says_so_ = says_so; });
  }
  return timedated_says_so_;
}

}  // namespace postern

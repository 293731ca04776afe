#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/status.h"
#include "tests/bench/parts.h"

namespace postern::bench {
namespace {

constexpr double kMostMillisecondsLate = 8;
constexpr uint16_t kPort = 22;
// From one end to the next. A window around each is probed.
constexpr absl::Duration kBetweenEnds = absl::Milliseconds(30);
constexpr absl::Duration kProbeBefore = absl::Milliseconds(3);
// For the sockets that the probes are sent from.
constexpr absl::Duration kPrepare = absl::Milliseconds(5);
constexpr absl::Duration kProbeEvery = absl::Microseconds(250);
constexpr uint32_t kProbes = 96;
// Until the first end: the grants must have been made by then.
constexpr absl::Duration kLead = absl::Seconds(3);
// More than a tick, so that the ends fall anywhere within one.
constexpr int kMaxJitterUs = 5000;
constexpr int kReceiveBytes = 4 << 20;

struct End {
  std::string source;
  // A connection's own packets are probed, instead of packets that open one.
  bool same_flow = false;
  BootTime deadline;
};

// What a probe carries.
struct Payload {
  uint32_t end;
  uint32_t probe;
};

struct Probe {
  BootTime before;
  BootTime after;
  bool passed = false;
};

sockaddr_in At(const std::string& address, uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  return at;
}

Fd NewSocket() { return Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); }

absl::StatusOr<Fd> Receiver(const World& world) {
  const Inside inside(world.agent());
  POSTERN_RETURN_IF_ERROR(inside.status());
  Fd fd = NewSocket();
  const sockaddr_in any = At("0.0.0.0", kPort);
  if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBytes, sizeof kReceiveBytes) != 0 ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) {
    return ErrnoStatus(errno, "making the receiver of probes");
  }
  return fd;
}

// Sockets of different ports, so that each one's first packet opens a flow.
absl::StatusOr<std::vector<Fd>> Senders(const World& world, const End& end) {
  const Inside inside(world.visitor());
  POSTERN_RETURN_IF_ERROR(inside.status());
  std::vector<Fd> senders;
  const sockaddr_in from = At(end.source, 0);
  const sockaddr_in to = At(kAgentToVisitors, kPort);
  for (uint32_t i = 0; i < (end.same_flow ? 1 : kProbes); ++i) {
    Fd fd = NewSocket();
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0 ||
        connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      return ErrnoStatus(errno, "making a sender of probes");
    }
    senders.push_back(std::move(fd));
  }
  return senders;
}

// Other work of this machine must not make gaps between probes.
class Urgent {
 public:
  Urgent() {
    const sched_param first = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &first);
  }
  Urgent(const Urgent&) = delete;
  Urgent& operator=(const Urgent&) = delete;
  ~Urgent() {
    const sched_param none = {.sched_priority = 0};
    sched_setscheduler(0, SCHED_OTHER, &none);
  }
};

std::vector<Probe> Send(const std::vector<Fd>& senders, uint32_t number, const End& end) {
  const SystemClock clock;
  std::vector<Probe> probes(kProbes);
  for (uint32_t i = 0; i < kProbes; ++i) {
    const BootTime at = end.deadline - kProbeBefore + i * kProbeEvery;
    Probe& probe = probes[i];
    do probe.before = clock.Read().boot;
    while (probe.before < at);
    const Payload payload = {.end = number, .probe = i};
    send(senders[i % senders.size()].get(), &payload, sizeof payload, MSG_DONTWAIT);
    probe.after = clock.Read().boot;
  }
  return probes;
}

void MarkPassed(const Fd& receiver, uint32_t number, std::vector<Probe>& probes) {
  Payload payload{};
  while (recv(receiver.get(), &payload, sizeof payload, MSG_DONTWAIT) == sizeof payload) {
    if (payload.end == number && payload.probe < probes.size()) {
      probes[payload.probe].passed = true;
    }
  }
}

struct Lateness {
  // Of the last packet that passed.
  Samples late;
  // From that one to the first that was blocked for good: what the probing cannot
  // see.
  Samples unseen;
  int early = 0;
};

absl::Status Judge(const std::vector<Probe>& probes, const End& end, Lateness& lateness) {
  const auto last =
      std::find_if(probes.rbegin(), probes.rend(), [](const Probe& probe) { return probe.passed; });
  if (last == probes.rend()) {
    return absl::InternalError(absl::StrCat("no probe from ", end.source, " passed"));
  }
  const auto passed = static_cast<size_t>(probes.rend() - last) - 1;
  const size_t blocked = std::min<size_t>(passed + 1, probes.size() - 1);
  lateness.late.Add(absl::ToDoubleMilliseconds(probes[passed].before - end.deadline));
  lateness.unseen.Add(absl::ToDoubleMilliseconds(probes[blocked].before - probes[passed].after));
  if (std::any_of(probes.begin(), probes.end(), [&](const Probe& probe) {
        return !probe.passed && probe.after < end.deadline;
      })) {
    ++lateness.early;
  }
  return absl::OkStatus();
}

// Grants that end one after the other, half of them for new flows (keep), half
// for one that is open (cut).
absl::StatusOr<std::vector<End>> MakeEnds(Client& client, int count) {
  const SystemClock clock;
  const BootTime first = clock.Read().boot + kLead;
  std::minstd_rand random(1);
  std::uniform_int_distribution<int> jitter(0, kMaxJitterUs);
  std::vector<End> ends;
  for (int i = 0; i < count; ++i) {
    End end{.source = absl::StrCat("10.1.", i / 250, ".", i % 250 + 1),
            .same_flow = i % 2 == 1,
            .deadline = {}};
    v1::CreateGrantRequest request = NewGrant();
    request.set_source_prefixes(0, absl::StrCat(end.source, "/32"));
    request.mutable_ports(0)->set_protocol(v1::UDP);
    request.set_on_expiry(end.same_flow ? v1::CUT : v1::KEEP);
    const BootTime wanted = first + i * kBetweenEnds + absl::Microseconds(jitter(random));
    const absl::Duration duration = wanted - clock.Read().boot;
    if (duration <= absl::ZeroDuration())
      return absl::InternalError("creating grants took too long");
    const int64_t ns = absl::ToInt64Nanoseconds(duration);
    request.mutable_duration()->set_seconds(ns / 1'000'000'000);
    request.mutable_duration()->set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
    POSTERN_ASSIGN_OR_RETURN(const v1::Grant grant, client.Create(request));
    const Now now = clock.Read();
    const absl::Time told = absl::FromUnixSeconds(grant.end_time().seconds()) +
                            absl::Nanoseconds(grant.end_time().nanos());
    end.deadline = now.boot + (told - now.wall);
    ends.push_back(std::move(end));
  }
  return ends;
}

}  // namespace

absl::Status MeasureExpiry(World& world, const Plan& plan, Figures& figures) {
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Process> agent,
                           world.StartAgent(world.agent(), "expiry", 0));
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, world.Connect(kAgentAddress));
  POSTERN_ASSIGN_OR_RETURN(const Fd receiver, Receiver(world));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<End> ends, MakeEnds(*client, plan.ends));
  const SystemClock clock;
  const Urgent urgent;
  Lateness lateness;
  for (uint32_t i = 0; i < ends.size(); ++i) {
    absl::SleepFor(ends[i].deadline - kPrepare - clock.Read().boot);
    POSTERN_ASSIGN_OR_RETURN(const std::vector<Fd> senders, Senders(world, ends[i]));
    std::vector<Probe> probes = Send(senders, i, ends[i]);
    MarkPassed(receiver, i, probes);
    // Nothing can be said where other work kept the first probe back so long.
    if (probes.front().before > ends[i].deadline - kProbeBefore / 2) continue;
    POSTERN_RETURN_IF_ERROR(Judge(probes, ends[i], lateness));
  }
  if (lateness.late.size() == 0) return absl::UnavailableError("this machine is too busy to probe");
  figures.Add("expiry_late_p50", lateness.late.Quantile(0.5), "ms", Target{kMostMillisecondsLate});
  figures.Add("expiry_late_p99", lateness.late.Quantile(0.99), "ms", Target{kMostMillisecondsLate});
  figures.Add("expiry_late_max", lateness.late.Max(), "ms", Target{kMostMillisecondsLate});
  figures.Add("expiry_early_count", lateness.early, "ends", Target{0});
  figures.Add("expiry_measured", static_cast<double>(lateness.late.size()), "ends");
  figures.Add("expiry_unseen_p50", lateness.unseen.Quantile(0.5), "ms");
  figures.Add("expiry_unseen_max", lateness.unseen.Max(), "ms");
  return absl::OkStatus();
}

}  // namespace postern::bench

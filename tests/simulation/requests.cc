// The requests that a run makes. Few sources and ports, so that grants meet.

#include <algorithm>

#include "tests/simulation/world.h"
#include "tests/support/grants.h"

namespace postern::simulation {
namespace {

// Nested, equal and apart, of both families.
const std::vector<Prefix>& Universe() {
  static const std::vector<Prefix> prefixes = {
      P("203.0.113.7"),   P("203.0.113.7"),   P("203.0.113.0/28"), P("203.0.113.0/24"),
      P("203.0.0.0/16"),  P("198.51.100.1"),  P("2001:db8::1"),    P("2001:db8::1"),
      P("2001:db8::/64"), P("2001:db8::/32"),
  };
  return prefixes;
}

absl::Duration SomeDuration(Random& random) {
  static const std::vector<absl::Duration> durations = {
      absl::Seconds(1),  absl::Seconds(2), absl::Seconds(10), absl::Minutes(1),
      absl::Minutes(10), absl::Hours(1),   absl::Hours(3),    absl::Hours(4)};
  const absl::Duration base = random.Pick(durations);
  return random.Chance(40) ? base - random.UpTo(absl::Milliseconds(900)) : base;
}

Port SomePort(Random& random) {
  static const std::vector<uint16_t> numbers = {22, 22, 3389};
  const uint16_t number = random.Pick(numbers);
  switch (random.Below(4)) {
    case 0:
      return Udp(number);
    case 1:
      return Any(number);
    default:
      return Tcp(number);
  }
}

}  // namespace

std::vector<Prefix> World::SomeSources() {
  std::vector<Prefix> sources = {random_.Pick(Universe())};
  while (random_.Chance(20)) sources.push_back(random_.Pick(Universe()));
  return sources;
}

GrantRequest World::NewGrant() {
  GrantRequest request = postern::Request(next_id_++);
  request.sources = SomeSources();
  request.ports = {SomePort(random_)};
  if (random_.Chance(15)) request.ports.push_back(SomePort(random_));
  request.duration = SomeDuration(random_);
  if (random_.Chance(20)) request.not_after = host_.clock.Read().wall + SomeDuration(random_);
  static const std::vector<OnExpiry> ends = {OnExpiry::kKeep, OnExpiry::kKeep, OnExpiry::kCut,
                                             OnExpiry::kReset};
  request.on_expiry = random_.Pick(ends);
  return request;
}

// Mostly a late one, which is more likely to be live.
std::string World::SomeId() {
  if (entries_.empty()) return Id(999);
  const size_t back = random_.Below(random_.Chance(70) ? 4 : entries_.size());
  return entries_[entries_.size() - 1 - std::min(back, entries_.size() - 1)].id;
}

Request World::RandomRequest() {
  const size_t draw = random_.Below(100);
  if (draw < 40) return CreateGrant{NewGrant()};
  if (draw < 48) {
    // Again, as a caller does that got no answer; or something else under its id.
    const Entry& entry = EntryOf(SomeId());
    GrantRequest request = entry.now ? entry.now->asked : NewGrant();
    request.id = entry.id;
    if (random_.Chance(20)) request.duration += absl::Seconds(1);
    return CreateGrant{std::move(request)};
  }
  if (draw < 66) return ExtendGrant{SomeId(), SomeDuration(random_)};
  if (draw < 80) return MoveGrant{SomeId(), SomeSources()};
  return RevokeGrant{SomeId(), random_.Chance(30), "no longer needed"};
}

}  // namespace postern::simulation

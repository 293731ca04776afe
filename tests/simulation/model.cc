#include "tests/simulation/model.h"

#include <algorithm>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace postern::simulation {
namespace {

bool HasProtocol(const Port& port, Protocol protocol) {
  return protocol == Protocol::kTcp ? port.tcp : port.udp;
}

bool HasPort(const std::vector<Port>& ports, Protocol protocol, uint16_t number) {
  return std::any_of(ports.begin(), ports.end(), [&](const Port& port) {
    return port.number == number && HasProtocol(port, protocol);
  });
}

bool AnyContains(const std::vector<Prefix>& prefixes, const Address& address) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const Prefix& prefix) { return prefix.Contains(address); });
}

bool SameContent(const GrantRequest& a, const GrantRequest& b) {
  return a.sources == b.sources && a.ports == b.ports && a.duration == b.duration &&
         a.not_after == b.not_after && a.requestor == b.requestor &&
         a.justification == b.justification && a.on_expiry == b.on_expiry;
}

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

std::string Sources(const std::vector<Prefix>& sources) {
  return absl::StrJoin(sources, ",", [](std::string* out, const Prefix& prefix) {
    absl::StrAppend(out, prefix.ToString());
  });
}

// The ids of a run differ in their last digits.
std::string ShortId(const std::string& id) { return absl::StrCat("#", std::stoi(id.substr(24))); }

Expected MustBe(bool accepted) { return accepted ? Expected::kAccepted : Expected::kRefused; }

}  // namespace

bool ModelGrant::Covers(const Address& source, Protocol protocol, uint16_t port) const {
  return AnyContains(sources, source) && HasPort(asked.ports, protocol, port);
}

bool ModelGrant::HasCovered(const Address& source, Protocol protocol, uint16_t port) const {
  return (AnyContains(sources, source) || AnyContains(earlier, source)) &&
         HasPort(asked.ports, protocol, port);
}

bool ModelGrant::Names(const AccessKey& key) const {
  return std::find(sources.begin(), sources.end(), key.source) != sources.end() &&
         std::any_of(asked.ports.begin(), asked.ports.end(), [&](const Port& port) {
           return port.number == key.port && HasProtocol(port, key.protocol);
         });
}

std::vector<AccessKey> ModelGrant::Keys() const {
  std::vector<AccessKey> keys;
  for (const Prefix& source : sources) {
    for (const Port& port : asked.ports) {
      for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
        if (!HasProtocol(port, protocol)) continue;
        keys.push_back({.source = source, .protocol = protocol, .port = port.number});
      }
    }
  }
  return keys;
}

bool Entry::HasUnanswered() const {
  return std::any_of(open.begin(), open.end(), [](const OpenRequest& o) { return !o.refused; });
}

std::vector<Request> Entry::Unanswered() const {
  std::vector<Request> requests;
  for (const OpenRequest& one : open) {
    if (!one.refused) requests.push_back(one.request);
  }
  return requests;
}

std::vector<Request> Entry::Open() const {
  std::vector<Request> requests;
  for (const OpenRequest& one : open) requests.push_back(one.request);
  return requests;
}

Version After(const Version& before, const Request& request, const Now& now) {
  Version after = before;
  std::visit(Overloaded{
                 [&](const CreateGrant& create) {
                   if (before) return;
                   const GrantRequest& asked = create.request;
                   const absl::Duration lasts =
                       asked.not_after ? std::min(asked.duration, *asked.not_after - now.wall)
                                       : asked.duration;
                   after = ModelGrant{.asked = asked,
                                      .sources = asked.sources,
                                      .start = now.wall,
                                      .end = now.wall + lasts,
                                      .deadline = now.boot + lasts};
                 },
                 [&](const ExtendGrant& extend) {
                   if (!after || !after->LiveAt(now.boot)) return;
                   after->end += extend.by;
                   after->deadline = after->deadline + extend.by;
                 },
                 [&](const MoveGrant& move) {
                   if (!after || !after->LiveAt(now.boot)) return;
                   after->earlier.insert(after->earlier.end(), after->sources.begin(),
                                         after->sources.end());
                   after->sources = move.sources;
                 },
                 [&](const RevokeGrant&) {
                   if (!after || !(after->withheld || after->LiveAt(now.boot))) return;
                   if (after->state != GrantState::kActive) return;
                   after->state = GrantState::kRevoked;
                   after->withheld = false;
                   after->end = now.wall;
                 },
             },
             request);
  return after;
}

Version Renewed(const Version& version, const Now& now, bool trusted,
                const std::optional<absl::Time>& seen) {
  if (!version || version->state != GrantState::kActive) return version;
  Version renewed = version;
  if (renewed->withheld) {
    if (!trusted) return renewed;
    renewed->withheld = false;
    renewed->deadline =
        now.boot + std::min(renewed->end - renewed->start, renewed->end_by_boot - now.wall);
    if (seen) renewed->deadline = std::min(renewed->deadline, now.boot + (renewed->end - *seen));
    renewed->end_by_boot = absl::InfiniteFuture();
  }
  renewed->deadline = std::min(renewed->deadline, now.boot + (renewed->end - now.wall));
  return renewed;
}

Expected Expect(const Version& before, const Request& request, const Now& now, size_t live,
                const Limits& limits) {
  const bool is_live = before && before->LiveAt(now.boot);
  if (const auto* create = std::get_if<CreateGrant>(&request)) {
    if (before) return MustBe(SameContent(before->asked, create->request));
    const GrantRequest& asked = create->request;
    return MustBe(asked.duration <= limits.max_duration && live < limits.max_live_grants &&
                  (!asked.not_after || *asked.not_after > now.wall));
  }
  if (const auto* extend = std::get_if<ExtendGrant>(&request)) {
    if (!is_live) return Expected::kRefused;
    const absl::Time end = before->end + extend->by;
    return MustBe(end - before->start <= limits.max_duration &&
                  (!before->asked.not_after || end <= *before->asked.not_after));
  }
  if (std::holds_alternative<MoveGrant>(request)) return MustBe(is_live);
  return MustBe(before.has_value());
}

std::vector<Version> Outcomes(const Version& start, const std::vector<Request>& requests,
                              const Now& now) {
  std::vector<Version> outcomes = {start};
  for (const Request& request : requests) {
    const size_t size = outcomes.size();
    for (size_t i = 0; i < size; ++i) outcomes.push_back(After(outcomes[i], request, now));
  }
  return outcomes;
}

absl::string_view IdOf(const Request& request) {
  if (const auto* create = std::get_if<CreateGrant>(&request)) return create->request.id;
  if (const auto* extend = std::get_if<ExtendGrant>(&request)) return extend->id;
  if (const auto* move = std::get_if<MoveGrant>(&request)) return move->id;
  return std::get<RevokeGrant>(request).id;
}

std::string Describe(const Request& request) {
  return std::visit(
      Overloaded{
          [](const CreateGrant& create) {
            const GrantRequest& asked = create.request;
            static constexpr const char* kEnds[] = {"keep", "cut", "reset"};
            return absl::StrCat(
                "grant ", ShortId(asked.id), " from ", Sources(asked.sources), " to ",
                absl::StrJoin(
                    asked.ports, ",",
                    [](std::string* out, const Port& p) { absl::StrAppend(out, p.ToString()); }),
                " for ", absl::FormatDuration(asked.duration),
                asked.not_after ? absl::StrCat(" until ", absl::FormatTime(*asked.not_after,
                                                                           absl::UTCTimeZone()))
                                : "",
                " ", kEnds[static_cast<int>(asked.on_expiry.value_or(OnExpiry::kKeep))]);
          },
          [](const ExtendGrant& extend) {
            return absl::StrCat("extend ", ShortId(extend.id), " by ",
                                absl::FormatDuration(extend.by));
          },
          [](const MoveGrant& move) {
            return absl::StrCat("move ", ShortId(move.id), " to ", Sources(move.sources));
          },
          [](const RevokeGrant& revoke) {
            return absl::StrCat("revoke ", ShortId(revoke.id),
                                revoke.keep_sessions ? " keeping sessions" : "");
          },
      },
      request);
}

bool Matches(const Grant* durable, const Version& version, const Now& now,
             absl::string_view boot_id) {
  if (durable == nullptr || !version) return durable == nullptr && !version;
  const ModelGrant& model = *version;
  const GrantRequest& asked = model.asked;
  if (durable->sources != model.sources || durable->ports != asked.ports ||
      durable->start != model.start || durable->end != model.end ||
      durable->not_after != asked.not_after || durable->requestor != asked.requestor ||
      durable->justification != asked.justification ||
      durable->on_expiry != asked.on_expiry.value_or(OnExpiry::kKeep)) {
    return false;
  }
  if (durable->state == GrantState::kActive && model.state == GrantState::kActive) {
    if ((durable->boot_id != boot_id) != model.withheld) return false;
    if (!model.withheld && durable->deadline != model.deadline) return false;
  }
  if (durable->state != GrantState::kActive && durable->end_cause.empty()) return false;
  if (durable->state == model.state) return true;
  return model.state == GrantState::kActive && !model.withheld &&
         durable->state == GrantState::kExpired && model.deadline <= now.boot;
}

}  // namespace postern::simulation

// What callers send, from the bytes to the verdict. The input is records: one
// byte that says what it is (the index in kKinds; with the highest bit, from a
// caller whose address is seen), two of length, highest first, and the message.

#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "agent/grants/decide.h"
#include "agent/grants/ledger.h"
#include "agent/rpc/convert.h"
#include "agent/rpc/errors.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

// What clients take of metadata, as gRPC does by default.
constexpr size_t kMaxMetadataBytes = 8192;

// Narrow, so that each limit is reached.
Limits NarrowLimits() {
  Limits limits;
  limits.allowed_ports = {22, 3389};
  limits.allowed_sources = {P("192.0.0.0/6"), P("203.0.113.0/24"), P("2001:db8::/32")};
  limits.max_live_grants = 4;
  return limits;
}

// A refusal is for the caller: a code, and a message that arrives.
void CheckRefusal(const absl::Status& status) {
  FUZZ_CHECK(!status.ok());
  const grpc::Status sent = ToGrpcStatus(status);
  FUZZ_CHECK(static_cast<int>(sent.error_code()) == static_cast<int>(status.code()));
  FUZZ_CHECK(IsGoodMessage(sent.error_message(), kMaxMessageBytes));
  // At worst each byte of the message is sent as three, of the details as 4/3.
  FUZZ_CHECK(3 * sent.error_message().size() + sent.error_details().size() * 4 / 3 <=
             kMaxMetadataBytes);
}

// A duration or a time is what was sent, to the nanosecond.
template <typename Sent, typename Value>
void CheckExact(const Sent& sent, const Value& read) {
  const Sent again = ToProto(read);
  FUZZ_CHECK(again.seconds() == sent.seconds() && again.nanos() == sent.nanos());
}

// The host that is asked: the ledger and the clocks, without store and kernel.
class Host {
 public:
  void SetCaller(std::optional<Address> caller) { caller_ = caller; }

  void Create(absl::string_view bytes) {
    const auto request =
        Read<v1::CreateGrantRequest>(bytes, [&](const v1::CreateGrantRequest& message) {
          absl::StatusOr<GrantRequest> read = FromProto(message, caller_);
          if (!read.ok()) return read;
          CheckExact(message.duration(), read->duration);
          FUZZ_CHECK(read->not_after.has_value() == message.has_not_after());
          if (read->not_after.has_value()) CheckExact(message.not_after(), *read->not_after);
          return read;
        });
    if (!request.has_value()) return;
    // What has passed the form at the door passes it inside.
    FUZZ_CHECK(CheckForm(*request).ok());
    if (const Grant* existing = ledger_.Find(request->id)) {
      const absl::Status repeat = DecideRepeat(*request, *existing);
      if (!repeat.ok()) CheckRefusal(repeat);
      return;
    }
    const absl::StatusOr<Grant> grant = DecideCreate(*request, "peer", Context());
    if (!grant.ok()) {
      CheckRefusal(grant.status());
      return;
    }
    FUZZ_CHECK(grant->end > now_.wall && grant->deadline > now_.boot);
    FUZZ_CHECK(DecideRepeat(*request, *grant).ok());
    CheckReadsBack(*grant);
    Put(*grant);
  }

  void Extend(absl::string_view bytes) {
    const auto request =
        Read<v1::ExtendGrantRequest>(bytes, [](const auto& message) { return FromProto(message); });
    if (!request.has_value()) return;
    FUZZ_CHECK(request->by > absl::ZeroDuration());
    const Grant* const grant = ledger_.Find(request->id);
    if (grant == nullptr) return;
    const absl::StatusOr<Grant> extended = DecideExtend(*grant, request->by, Context());
    if (!extended.ok()) {
      CheckRefusal(extended.status());
      return;
    }
    FUZZ_CHECK(extended->end == grant->end + request->by);
    FUZZ_CHECK(extended->deadline == grant->deadline + request->by);
    Put(*extended);
  }

  void Move(absl::string_view bytes) {
    const auto request = Read<v1::MoveGrantRequest>(
        bytes, [&](const auto& message) { return FromProto(message, caller_); });
    if (!request.has_value()) return;
    const Grant* const grant = ledger_.Find(request->id);
    if (grant == nullptr) return;
    const absl::StatusOr<Grant> moved = DecideMove(*grant, request->sources, Context());
    if (!moved.ok()) {
      CheckRefusal(moved.status());
      return;
    }
    FUZZ_CHECK(moved->end == grant->end && moved->deadline == grant->deadline);
    FUZZ_CHECK(moved->ports == grant->ports);
    Put(*moved);
  }

  void Revoke(absl::string_view bytes) {
    const auto request =
        Read<v1::RevokeGrantRequest>(bytes, [](const auto& message) { return FromProto(message); });
    if (!request.has_value()) return;
    FUZZ_CHECK(request->reason.size() <= kMaxJustificationBytes);
    const Grant* const grant = ledger_.Find(request->id);
    if (grant != nullptr) End(Revoked(*grant, request->reason, now_));
  }

  void Get(absl::string_view bytes) {
    const auto id =
        Read<v1::GetGrantRequest>(bytes, [](const auto& message) { return FromProto(message); });
    if (!id.has_value()) return;
    if (const Grant* grant = ledger_.Find(*id)) CheckReadsBack(*grant);
  }

  void List(absl::string_view bytes) {
    const auto query =
        Read<v1::ListGrantsRequest>(bytes, [](const auto& message) { return FromProto(message); });
    if (!query.has_value()) return;
    FUZZ_CHECK(query->limit >= 1 && query->limit <= kMaxPageSize && query->after >= 0);
  }

  void ListAudit(absl::string_view bytes) {
    const auto query = Read<v1::ListAuditEventsRequest>(
        bytes, [](const auto& message) { return FromProto(message); });
    if (!query.has_value()) return;
    FUZZ_CHECK(query->limit >= 1 && query->limit <= kMaxPageSize);
    FUZZ_CHECK(query->since == absl::InfinitePast() ||
               *FromProto(ToProto(query->since)) == query->since);
  }

  void Check(absl::string_view bytes) {
    const auto query =
        Read<v1::CheckAccessRequest>(bytes, [](const auto& message) { return FromProto(message); });
    if (!query.has_value()) return;
    FUZZ_CHECK(query->port.number != 0 && (query->port.tcp || query->port.udp));
    const Protocol protocol = query->port.tcp ? Protocol::kTcp : Protocol::kUdp;
    const Grant* const grant =
        ledger_.Covering(query->source, protocol, query->port.number, now_.boot);
    const Coverage coverage =
        ledger_.CoverageOf(query->source, protocol, query->port.number, now_.boot);
    FUZZ_CHECK((grant != nullptr) == (coverage != Coverage::kNone));
    if (grant == nullptr) return;
    FUZZ_CHECK(grant->deadline > now_.boot);
    FUZZ_CHECK(std::any_of(grant->sources.begin(), grant->sources.end(),
                           [&](const Prefix& source) { return source.Contains(query->source); }));
  }

  void LockDown(absl::string_view bytes) {
    const auto reason =
        Read<v1::LockdownRequest>(bytes, [](const auto& message) { return FromProto(message); });
    if (reason.has_value()) FUZZ_CHECK(reason->size() <= kMaxJustificationBytes);
  }

  void Arm(absl::string_view bytes) {
    const auto within =
        Read<v1::ArmRequest>(bytes, [](const auto& message) { return FromProto(message); });
    if (!within.has_value()) return;
    FUZZ_CHECK(*within >= absl::Seconds(1) && *within <= absl::Hours(24));
  }

  // As many seconds as there are bytes, squared; no grant outlives its end.
  void Pass(absl::string_view bytes) {
    const absl::Duration passed = absl::Seconds(bytes.size() * bytes.size());
    now_.boot = now_.boot + passed;
    now_.wall += passed;
    for (const Grant* first = ledger_.EndingFirst();
         first != nullptr && first->deadline <= now_.boot; first = ledger_.EndingFirst()) {
      FUZZ_CHECK(first->end <= now_.wall);
      End(Expired(*first));
    }
  }

  // The limits hold for all that is live, whatever came in.
  void CheckAll() const {
    FUZZ_CHECK(ledger_.size() <= limits_.max_live_grants);
    constexpr BootTime kNever(absl::InfiniteDuration());
    FUZZ_CHECK(ledger_.EndingBetween(now_.boot, kNever).size() == ledger_.size());
    FUZZ_CHECK(ledger_.NextDeadlineAfter(now_.boot).has_value() == (ledger_.size() > 0));
    for (const auto& [id, grant] : ledger_.grants()) {
      FUZZ_CHECK(id == grant.id && grant.state == GrantState::kActive);
      FUZZ_CHECK(grant.end - grant.start <= limits_.max_duration);
      FUZZ_CHECK(!grant.not_after.has_value() || grant.end <= *grant.not_after);
      FUZZ_CHECK(grant.end - now_.wall == grant.deadline - now_.boot);
      for (const Port& port : grant.ports) FUZZ_CHECK(IsAllowed(port));
      for (const Prefix& source : grant.sources) FUZZ_CHECK(IsAllowed(source));
      for (const AccessKey& key : KeysOf(grant)) {
        const auto end = ledger_.WantedEnd(key, AdmissionOf(grant.on_expiry));
        FUZZ_CHECK(end.has_value() && *end >= grant.deadline);
      }
    }
  }

 private:
  DecisionContext Context() const {
    return {.limits = limits_, .now = now_, .live_grants = ledger_.size()};
  }

  // The request in `bytes` as `convert` reads it; empty where it is refused.
  template <typename Message, typename Convert>
  auto Read(absl::string_view bytes, Convert convert) const
      -> std::optional<typename decltype(convert(Message()))::value_type> {
    Message message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
    auto request = convert(message);
    if (request.ok()) return *std::move(request);
    FUZZ_CHECK(absl::IsInvalidArgument(request.status()));
    CheckRefusal(request.status());
    return std::nullopt;
  }

  // What a caller is told of a grant asks for the same grant.
  static void CheckReadsBack(const Grant& grant) {
    const v1::Grant told = ToProto(grant);
    v1::CreateGrantRequest asked;
    asked.set_id(told.id());
    *asked.mutable_source_prefixes() = told.source_prefixes();
    *asked.mutable_ports() = told.ports();
    *asked.mutable_duration() = told.duration();
    if (told.has_not_after()) *asked.mutable_not_after() = told.not_after();
    const absl::StatusOr<GrantRequest> request = FromProto(asked, std::nullopt);
    FUZZ_CHECK(request.ok() && request->id == grant.id);
    FUZZ_CHECK(request->sources == grant.sources && request->ports == grant.ports);
    FUZZ_CHECK(request->duration == grant.duration && request->not_after == grant.not_after);
  }

  bool IsAllowed(const Port& port) const {
    return std::find(limits_.allowed_ports.begin(), limits_.allowed_ports.end(), port.number) !=
           limits_.allowed_ports.end();
  }
  bool IsAllowed(const Prefix& source) const {
    const int shortest = source.family() == Family::kIpv4 ? limits_.shortest_prefix_ipv4
                                                          : limits_.shortest_prefix_ipv6;
    return source.length >= shortest &&
           std::any_of(limits_.allowed_sources.begin(), limits_.allowed_sources.end(),
                       [&](const Prefix& allowed) { return allowed.Contains(source); });
  }

  void Put(const Grant& grant) {
    ledger_.Put(grant);
    FUZZ_CHECK(ledger_.Find(grant.id) != nullptr && *ledger_.Find(grant.id) == grant);
  }

  // What ended claims nothing any more.
  void End(const Grant& ended) {
    FUZZ_CHECK(ended.state != GrantState::kActive);
    ledger_.Remove(ended.id);
    FUZZ_CHECK(ledger_.Find(ended.id) == nullptr);
    if (ledger_.size() > 0) return;
    for (const AccessKey& key : KeysOf(ended)) {
      FUZZ_CHECK(!ledger_.WantedEnd(key, Admission::kKeep).has_value());
      FUZZ_CHECK(!ledger_.WantedEnd(key, Admission::kCut).has_value());
    }
  }

  const Limits limits_ = NarrowLimits();
  Ledger ledger_;
  Now now_ = {.boot = BootTime(absl::Hours(1)), .wall = absl::FromUnixSeconds(1'714'572'000)};
  std::optional<Address> caller_;
};

constexpr void (Host::*kKinds[])(absl::string_view) = {
    &Host::Create,    &Host::Extend, &Host::Move, &Host::Revoke,   &Host::Get, &Host::List,
    &Host::ListAudit, &Host::Check,  &Host::Pass, &Host::LockDown, &Host::Arm};

void Run(absl::string_view input) {
  Host host;
  while (input.size() >= 3) {
    const auto kind = static_cast<uint8_t>(input[0]);
    const size_t length =
        static_cast<size_t>(static_cast<uint8_t>(input[1])) << 8 | static_cast<uint8_t>(input[2]);
    input.remove_prefix(3);
    const absl::string_view message = input.substr(0, length);
    input.remove_prefix(message.size());
    host.SetCaller((kind & 0x80) != 0 ? std::optional<Address>(A("203.0.113.7")) : std::nullopt);
    (host.*kKinds[(kind & 0x7f) % std::size(kKinds)])(message);
  }
  host.CheckAll();
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  // Says "invalid UTF-8" on stderr each time.
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::Run(postern::AsText(data, size));
  return 0;
}

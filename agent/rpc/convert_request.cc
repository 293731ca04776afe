#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "agent/grants/limits.h"
#include "agent/rpc/convert.h"
#include "agent/rpc/errors.h"
#include "common/text.h"
#include "common/uuid.h"

namespace postern {
namespace {

// The ranges that duration.proto and timestamp.proto set.
constexpr int64_t kMaxDurationSeconds = 315'576'000'000;
constexpr int64_t kMinTimeSeconds = -62'135'596'800;
constexpr int64_t kMaxTimeSeconds = 253'402'300'799;
constexpr int32_t kMaxNanos = 999'999'999;

// Digits in the largest int64_t.
constexpr size_t kMaxTokenBytes = 19;

// Reads the fields of one request and keeps what is wrong with them.
class Reader {
 public:
  void Refuse(std::string field, std::string description) {
    violations_.push_back({.field = std::move(field), .description = std::move(description)});
  }
  void Refuse(std::string field, const absl::Status& why) {
    Refuse(std::move(field), std::string(why.message()));
  }

  std::string Id(const std::string& id) {
    if (id.empty()) {
      Refuse("id", "is required");
      return "";
    }
    absl::StatusOr<std::string> uuid = ParseUuid(id);
    if (!uuid.ok()) Refuse("id", uuid.status());
    return uuid.ok() ? *std::move(uuid) : "";
  }

  std::string Text(const char* field, const std::string& text, size_t most) {
    if (text.size() <= most) return text;
    Refuse(field, absl::StrCat("has ", text.size(), " bytes; at most ", most, " are taken"));
    return "";
  }

  absl::Duration Length(bool present, const google::protobuf::Duration& duration) {
    if (!present) {
      Refuse("duration", "is required");
      return absl::ZeroDuration();
    }
    const absl::StatusOr<absl::Duration> length = FromProto(duration);
    if (!length.ok()) {
      Refuse("duration", length.status());
      return absl::ZeroDuration();
    }
    if (*length <= absl::ZeroDuration()) Refuse("duration", "must be greater than zero");
    return *length;
  }

  absl::Time Time(const char* field, const google::protobuf::Timestamp& timestamp) {
    const absl::StatusOr<absl::Time> time = FromProto(timestamp);
    if (!time.ok()) Refuse(field, time.status());
    return time.value_or(absl::UnixEpoch());
  }

  std::vector<Prefix> Sources(const google::protobuf::RepeatedPtrField<std::string>& texts,
                              const std::optional<Address>& caller) {
    if (texts.empty()) {
      if (caller) return {Prefix::Host(*caller)};
      Refuse("source_prefixes",
             "is empty, and a caller on the local socket has no address to take instead; name "
             "at least one (posternctl: --from)");
      return {};
    }
    if (!CountFits("source_prefixes", texts.size(), kMaxSourcesPerGrant)) return {};
    std::vector<Prefix> sources;
    sources.reserve(kMaxSourcesPerGrant);
    for (int i = 0; i < texts.size(); ++i) {
      const absl::StatusOr<Prefix> source = Prefix::Parse(texts[i]);
      if (source.ok()) {
        sources.push_back(*source);
      } else {
        Refuse(absl::StrCat("source_prefixes[", i, "]"), source.status());
      }
    }
    return sources;
  }

  std::vector<Port> Ports(const google::protobuf::RepeatedPtrField<v1::Port>& list) {
    if (list.empty()) Refuse("ports", "is empty; name at least one port");
    if (!CountFits("ports", list.size(), kMaxPortsPerGrant)) return {};
    std::vector<Port> ports;
    ports.reserve(kMaxPortsPerGrant);
    for (int i = 0; i < list.size(); ++i) {
      ports.push_back(OnePort(absl::StrCat("ports[", i, "]"), list[i]));
    }
    return ports;
  }

  Port OnePort(const std::string& path, const v1::Port& port) {
    if (port.number() == 0 || port.number() > std::numeric_limits<uint16_t>::max()) {
      Refuse(absl::StrCat(path, ".number"),
             absl::StrCat(port.number(), " is not a port; ports are 1 to 65535"));
    }
    Port read{.number = static_cast<uint16_t>(port.number()), .tcp = false, .udp = false};
    switch (port.protocol()) {
      case v1::TCP:
        read.tcp = true;
        break;
      case v1::UDP:
        read.udp = true;
        break;
      case v1::ANY:
        read.tcp = read.udp = true;
        break;
      case v1::PROTOCOL_UNSPECIFIED:
        Refuse(absl::StrCat(path, ".protocol"), "is required: TCP, UDP or ANY");
        break;
      default:
        Refuse(absl::StrCat(path, ".protocol"),
               absl::StrCat(static_cast<int>(port.protocol()),
                            " is not a protocol that is known here; use TCP, UDP or ANY"));
    }
    return read;
  }

  std::optional<OnExpiry> Expiry(v1::OnExpiry on_expiry) {
    switch (on_expiry) {
      case v1::ON_EXPIRY_UNSPECIFIED:
        return std::nullopt;
      case v1::KEEP:
        return OnExpiry::kKeep;
      case v1::CUT:
        return OnExpiry::kCut;
      case v1::RESET:
        return OnExpiry::kReset;
      default:
        Refuse("on_expiry", absl::StrCat(static_cast<int>(on_expiry),
                                         " is not known here; use KEEP, CUT or RESET"));
        return std::nullopt;
    }
  }

  size_t PageSize(int32_t size, const char* field = "page_size") {
    if (size < 0 || size > static_cast<int32_t>(kMaxPageSize)) {
      Refuse(field, absl::StrCat(size, " is not a page's size; use 1 to ", kMaxPageSize,
                                 ", or 0 for ", kDefaultPageSize));
      return kDefaultPageSize;
    }
    return size == 0 ? kDefaultPageSize : static_cast<size_t>(size);
  }

  // The number that the token is. Only what we would write ourselves is taken.
  int64_t PageToken(const std::string& token) {
    if (token.empty()) return 0;
    int64_t number = 0;
    const bool digits = token.size() <= kMaxTokenBytes && token.front() != '0' &&
                        token.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || !absl::SimpleAtoi(token, &number)) {
      Refuse("page_token", absl::StrCat("\"", Printable(token.substr(0, kMaxTokenBytes)),
                                        "\" is not the next_page_token of an answer"));
    }
    return number;
  }

  template <typename T>
  absl::StatusOr<T> Result(T value) const {
    if (!violations_.empty()) return BadRequestError(violations_);
    return value;
  }

 private:
  bool CountFits(const char* field, int count, size_t most) {
    if (static_cast<size_t>(count) <= most) return true;
    Refuse(field, absl::StrCat("has ", count, " entries; a grant takes at most ", most));
    return false;
  }

  std::vector<Violation> violations_;
};

}  // namespace

absl::StatusOr<absl::Duration> FromProto(const google::protobuf::Duration& duration) {
  const int64_t seconds = duration.seconds();
  const int32_t nanos = duration.nanos();
  if (seconds < -kMaxDurationSeconds || seconds > kMaxDurationSeconds) {
    return absl::InvalidArgumentError(
        absl::StrCat(seconds, " seconds are beyond what a duration can be, ", kMaxDurationSeconds));
  }
  if (nanos < -kMaxNanos || nanos > kMaxNanos || (seconds < 0 && nanos > 0) ||
      (seconds > 0 && nanos < 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat(nanos, " nanos do not go with ", seconds,
                     " seconds; they are less than a second and of the same sign"));
  }
  return absl::Seconds(seconds) + absl::Nanoseconds(nanos);
}

absl::StatusOr<absl::Time> FromProto(const google::protobuf::Timestamp& time) {
  if (time.seconds() < kMinTimeSeconds || time.seconds() > kMaxTimeSeconds) {
    return absl::InvalidArgumentError(
        absl::StrCat(time.seconds(), " seconds are not a time in the years 1 to 9999"));
  }
  if (time.nanos() < 0 || time.nanos() > kMaxNanos) {
    return absl::InvalidArgumentError(
        absl::StrCat(time.nanos(), " nanos are not 0 to ", kMaxNanos));
  }
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::StatusOr<GrantRequest> FromProto(const v1::CreateGrantRequest& request,
                                       const std::optional<Address>& caller) {
  Reader reader;
  GrantRequest grant;
  grant.id = reader.Id(request.id());
  grant.sources = reader.Sources(request.source_prefixes(), caller);
  grant.ports = reader.Ports(request.ports());
  grant.duration = reader.Length(request.has_duration(), request.duration());
  if (request.has_not_after()) grant.not_after = reader.Time("not_after", request.not_after());
  grant.requestor = reader.Text("requestor", request.requestor(), kMaxRequestorBytes);
  grant.justification =
      reader.Text("justification", request.justification(), kMaxJustificationBytes);
  grant.on_expiry = reader.Expiry(request.on_expiry());
  if (request.has_sent_at()) grant.sent_at = reader.Time("sent_at", request.sent_at());
  return reader.Result(std::move(grant));
}

absl::StatusOr<MoveGrant> FromProto(const v1::MoveGrantRequest& request,
                                    const std::optional<Address>& caller) {
  Reader reader;
  MoveGrant move;
  move.id = reader.Id(request.id());
  move.sources = reader.Sources(request.source_prefixes(), caller);
  return reader.Result(std::move(move));
}

absl::StatusOr<ExtendGrant> FromProto(const v1::ExtendGrantRequest& request) {
  Reader reader;
  ExtendGrant extend;
  extend.id = reader.Id(request.id());
  extend.by = reader.Length(request.has_duration(), request.duration());
  return reader.Result(std::move(extend));
}

absl::StatusOr<RevokeGrant> FromProto(const v1::RevokeGrantRequest& request) {
  Reader reader;
  RevokeGrant revoke;
  revoke.id = reader.Id(request.id());
  revoke.keep_sessions = request.keep_sessions();
  revoke.reason = reader.Text("reason", request.reason(), kMaxJustificationBytes);
  return reader.Result(std::move(revoke));
}

absl::StatusOr<std::string> FromProto(const v1::GetGrantRequest& request) {
  Reader reader;
  return reader.Result(reader.Id(request.id()));
}

absl::StatusOr<GrantQuery> FromProto(const v1::ListGrantsRequest& request) {
  Reader reader;
  GrantQuery query;
  query.after = reader.PageToken(request.page_token());
  query.limit = reader.PageSize(request.page_size());
  query.include_ended = request.include_ended();
  return reader.Result(query);
}

absl::StatusOr<AuditQuery> FromProto(const v1::ListAuditEventsRequest& request) {
  Reader reader;
  AuditQuery query;
  query.after = static_cast<uint64_t>(reader.PageToken(request.page_token()));
  if (request.has_since()) query.since = reader.Time("since", request.since());
  query.limit = reader.PageSize(request.page_size());
  return reader.Result(query);
}

absl::StatusOr<AccessQuery> FromProto(const v1::CheckAccessRequest& request) {
  Reader reader;
  AccessQuery query;
  const absl::StatusOr<Address> source = Address::Parse(request.source_address());
  if (source.ok()) {
    query.source = *source;
  } else {
    reader.Refuse("source_address", source.status());
  }
  query.port = reader.OnePort("port", request.port());
  return reader.Result(query);
}

absl::StatusOr<DeniedQuery> FromProto(const v1::ListDeniedRequest& request) {
  Reader reader;
  return reader.Result(DeniedQuery{.most = reader.PageSize(request.max_sources(), "max_sources")});
}

absl::StatusOr<std::string> FromProto(const v1::LockdownRequest& request) {
  Reader reader;
  return reader.Result(reader.Text("reason", request.reason(), kMaxJustificationBytes));
}

absl::StatusOr<absl::Duration> FromProto(const v1::ArmRequest& request) {
  constexpr absl::Duration kShortest = absl::Seconds(1);
  constexpr absl::Duration kLongest = absl::Hours(24);
  Reader reader;
  absl::StatusOr<absl::Duration> within = FromProto(request.confirm_within());
  if (!request.has_confirm_within()) {
    reader.Refuse("confirm_within", "is required");
  } else if (!within.ok()) {
    reader.Refuse("confirm_within", within.status());
  } else if (*within < kShortest || *within > kLongest) {
    reader.Refuse("confirm_within", "must be from a second to 24 hours");
  }
  return reader.Result(within.value_or(absl::ZeroDuration()));
}

}  // namespace postern

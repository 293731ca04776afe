#include "agent/grants/decide.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/duration.h"
#include "common/status.h"
#include "common/text.h"
#include "common/uuid.h"

namespace postern {
namespace {

// What nanoseconds in 64 bits can hold, with room; clocks that far apart are
// both wrong.
constexpr absl::Duration kMostClockSkew = absl::Hours(24 * 365 * 100);

template <typename Container>
bool Holds(const Container& container, uint16_t port) {
  return std::find(container.begin(), container.end(), port) != container.end();
}

absl::Status CheckSourcesForm(const std::vector<Prefix>& sources) {
  if (sources.empty()) {
    return FieldError("source_prefixes", "is empty; name at least one address or prefix");
  }
  if (sources.size() > kMaxSourcesPerGrant) {
    return FieldError("source_prefixes",
                      absl::StrCat("has ", sources.size(), " entries; a grant takes at most ",
                                   kMaxSourcesPerGrant));
  }
  return absl::OkStatus();
}

absl::Status CheckPortsForm(const std::vector<Port>& ports) {
  if (ports.empty()) return FieldError("ports", "is empty; name at least one port");
  if (ports.size() > kMaxPortsPerGrant) {
    return FieldError("ports", absl::StrCat("has ", ports.size(),
                                            " entries; a grant takes at most ", kMaxPortsPerGrant));
  }
  for (const Port& port : ports) {
    if (port.number == 0) return FieldError("ports", "0 is not a port; ports are 1 to 65535");
    if (!port.tcp && !port.udp) {
      return FieldError("ports", absl::StrCat("port ", port.number, " has no protocol"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckText(absl::string_view field, absl::string_view text, size_t most) {
  if (text.size() > most) {
    return FieldError(field,
                      absl::StrCat("has ", text.size(), " bytes; at most ", most, " are taken"));
  }
  if (!IsUtf8(text)) return FieldError(field, "is not UTF-8");
  return absl::OkStatus();
}

absl::Status CheckPorts(const std::vector<Port>& ports, const Limits& limits) {
  for (const Port& port : ports) {
    if (!Holds(limits.guarded_ports, port.number)) {
      return absl::FailedPreconditionError(absl::StrCat("port ", port.number,
                                                        " is not guarded; agent.yaml lists ",
                                                        absl::StrJoin(limits.guarded_ports, ", ")));
    }
    if (!limits.allowed_ports.empty() && !Holds(limits.allowed_ports, port.number)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "grants for port ", port.number, " are not allowed here; limits.allowed_ports lists ",
          absl::StrJoin(limits.allowed_ports, ", ")));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSources(const std::vector<Prefix>& sources, const Limits& limits) {
  for (const Prefix& source : sources) {
    const int shortest = source.family() == Family::kIpv4 ? limits.shortest_prefix_ipv4
                                                          : limits.shortest_prefix_ipv6;
    if (source.length < shortest) {
      return absl::FailedPreconditionError(
          absl::StrCat("source ", source.ToString(), " is too wide; this host takes prefixes of /",
                       shortest, " and longer (limits.shortest_prefix)"));
    }
    const bool allowed = std::any_of(limits.allowed_sources.begin(), limits.allowed_sources.end(),
                                     [&](const Prefix& within) { return within.Contains(source); });
    if (!allowed) {
      return absl::FailedPreconditionError(
          absl::StrCat("source ", source.ToString(),
                       " is outside what this host allows (limits.allowed_sources)"));
    }
  }
  return absl::OkStatus();
}

// The sources that `grant` has had and that are not among `next`.
std::vector<Prefix> EarlierSources(const Grant& grant, const std::vector<Prefix>& next) {
  std::vector<Prefix> earlier = grant.earlier_sources;
  earlier.insert(earlier.end(), grant.sources.begin(), grant.sources.end());
  std::sort(earlier.begin(), earlier.end());
  earlier.erase(std::unique(earlier.begin(), earlier.end()), earlier.end());
  std::erase_if(earlier, [&](const Prefix& source) {
    return std::find(next.begin(), next.end(), source) != next.end();
  });
  return earlier;
}

// Checks that `end` is ahead and that the grant's whole length stays within the
// limit.
absl::Status CheckLength(absl::Duration length, const Limits& limits) {
  if (length <= limits.max_duration) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the grant would last ", DurationText(length), " from its start; this host allows ",
      DurationText(limits.max_duration), " (limits.max_duration)"));
}

}  // namespace

absl::Status CheckForm(const GrantRequest& request) {
  if (absl::StatusOr<std::string> id = ParseUuid(request.id); !id.ok()) {
    return FieldError("id", id.status().message());
  }
  POSTERN_RETURN_IF_ERROR(CheckSourcesForm(request.sources));
  POSTERN_RETURN_IF_ERROR(CheckPortsForm(request.ports));
  if (request.duration <= absl::ZeroDuration()) {
    return FieldError("duration", "must be greater than zero");
  }
  POSTERN_RETURN_IF_ERROR(CheckText("requestor", request.requestor, kMaxRequestorBytes));
  return CheckText("justification", request.justification, kMaxJustificationBytes);
}

absl::StatusOr<Grant> DecideCreate(const GrantRequest& request, absl::string_view actor,
                                   const DecisionContext& context) {
  POSTERN_RETURN_IF_ERROR(CheckForm(request));
  POSTERN_RETURN_IF_ERROR(CheckPorts(request.ports, context.limits));
  POSTERN_RETURN_IF_ERROR(CheckSources(request.sources, context.limits));
  POSTERN_RETURN_IF_ERROR(CheckLength(request.duration, context.limits));
  absl::Duration lasts = request.duration;
  if (request.not_after) {
    lasts = std::min(lasts, *request.not_after - context.now.wall);
    if (lasts <= absl::ZeroDuration()) {
      return FieldError("not_after",
                        absl::StrCat(absl::FormatTime(*request.not_after, absl::UTCTimeZone()),
                                     " is not ahead of this host's clock, ",
                                     absl::FormatTime(context.now.wall, absl::UTCTimeZone())));
    }
  }
  if (context.live_grants >= context.limits.max_live_grants) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this host holds ", context.live_grants,
                     " live grants, its limit (limits.max_live_grants); revoke some or wait"));
  }
  Grant grant;
  grant.id = request.id;
  grant.sources = request.sources;
  grant.ports = request.ports;
  grant.duration = request.duration;
  grant.not_after = request.not_after;
  grant.requestor = request.requestor;
  grant.justification = request.justification;
  grant.on_expiry = request.on_expiry.value_or(context.limits.on_expiry);
  grant.created_by = std::string(actor);
  grant.request_fingerprint = RequestFingerprint(request);
  grant.start = context.now.wall;
  grant.end = context.now.wall + lasts;
  grant.deadline = context.now.boot + lasts;
  if (request.sent_at) {
    grant.clock_skew =
        std::clamp(context.now.wall - *request.sent_at, -kMostClockSkew, kMostClockSkew);
  }
  return grant;
}

absl::Status DecideRepeat(const GrantRequest& request, const Grant& existing) {
  if (RequestFingerprint(request) == existing.request_fingerprint) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat("grant ", existing.id,
                   " exists with other content; use a new id, or extend, move or revoke it"));
}

absl::StatusOr<Grant> DecideExtend(const Grant& grant, absl::Duration by,
                                   const DecisionContext& context) {
  if (by <= absl::ZeroDuration()) return FieldError("duration", "must be greater than zero");
  // Bounded first, so that the sums below stay finite.
  POSTERN_RETURN_IF_ERROR(CheckLength(by, context.limits));
  Grant extended = grant;
  extended.duration += by;
  extended.end += by;
  extended.deadline = extended.deadline + by;
  POSTERN_RETURN_IF_ERROR(CheckLength(extended.end - extended.start, context.limits));
  if (grant.not_after && extended.end > *grant.not_after) {
    return absl::FailedPreconditionError(
        absl::StrCat("grant ", grant.id, " was asked for until ",
                     absl::FormatTime(*grant.not_after, absl::UTCTimeZone()),
                     " at the latest; create a new grant for longer"));
  }
  return extended;
}

absl::StatusOr<Grant> DecideMove(const Grant& grant, const std::vector<Prefix>& sources,
                                 const DecisionContext& context) {
  POSTERN_RETURN_IF_ERROR(CheckSourcesForm(sources));
  POSTERN_RETURN_IF_ERROR(CheckSources(sources, context.limits));
  Grant moved = grant;
  moved.sources = sources;
  moved.earlier_sources = EarlierSources(grant, sources);
  if (moved.earlier_sources.size() > kMaxEarlierSources) {
    return absl::FailedPreconditionError(
        absl::StrCat("grant ", grant.id, " would have left ", moved.earlier_sources.size(),
                     " sources, and a revoke ends the sessions of at most ", kMaxEarlierSources,
                     "; revoke it and create a new one"));
  }
  return moved;
}

Grant Revoked(const Grant& grant, absl::string_view cause, const Now& now) {
  Grant revoked = grant;
  revoked.state = GrantState::kRevoked;
  revoked.end = now.wall;
  revoked.end_cause = std::string(cause);
  return revoked;
}

Grant Expired(const Grant& grant) {
  Grant expired = grant;
  expired.state = GrantState::kExpired;
  expired.end_cause = "its end came";
  return expired;
}

}  // namespace postern

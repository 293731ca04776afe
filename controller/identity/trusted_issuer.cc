#include "controller/identity/trusted_issuer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status.h"
#include "common/text.h"
#include "controller/domain/error.h"

namespace postern::controller {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxPrincipalBytes = 256;
constexpr absl::Duration kPeriod = absl::Minutes(15);
// After a failure, and for a key that is not known: strangers can name those.
constexpr absl::Duration kSoon = absl::Minutes(1);

std::optional<absl::Time> TimeOf(const Json& claims, const char* name) {
  const auto found = claims.find(name);
  if (found == claims.end() || !found->is_number()) return std::nullopt;
  return absl::UnixEpoch() + absl::Seconds(found->get<double>());
}

std::string TextOf(const Json& claims, const std::string& name) {
  const auto found = claims.find(name);
  return found != claims.end() && found->is_string() ? found->get<std::string>() : "";
}

std::vector<std::string> AudiencesOf(const Json& claims) {
  const auto found = claims.find("aud");
  if (found == claims.end()) return {};
  if (found->is_string()) return {found->get<std::string>()};
  std::vector<std::string> audiences;
  if (!found->is_array()) return audiences;
  for (const Json& one : *found) {
    if (one.is_string()) audiences.push_back(one.get<std::string>());
  }
  return audiences;
}

absl::Status CheckTimes(const Claims& claims, absl::Time now) {
  if (!claims.expires) return absl::UnauthenticatedError("the token has no end (exp)");
  if (now >= *claims.expires + TrustedIssuer::kLeeway) {
    return absl::UnauthenticatedError("the token is over; sign in again");
  }
  if (claims.not_before && now < *claims.not_before - TrustedIssuer::kLeeway) {
    return absl::UnauthenticatedError("the token is not good yet (nbf)");
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<Claims> ReadClaims(const std::string& json, const std::string& name_claim) {
  const Json claims = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!claims.is_object()) return std::nullopt;
  // A time that is there and is no number is none that could be kept to.
  if (claims.contains("nbf") && !TimeOf(claims, "nbf")) return std::nullopt;
  return Claims{.issuer = TextOf(claims, "iss"),
                .audiences = AudiencesOf(claims),
                .expires = TimeOf(claims, "exp"),
                .not_before = TimeOf(claims, "nbf"),
                .name = TextOf(claims, name_claim)};
}

TrustedIssuer::TrustedIssuer(OidcIssuer issuer, std::function<absl::StatusOr<std::string>()> fetch,
                             std::function<void(const std::string&)> report)
    : issuer_(std::move(issuer)), fetch_(std::move(fetch)), report_(std::move(report)) {}

BootTime TrustedIssuer::Due() const {
  if (!tried_at_) return BootTime();
  return *tried_at_ + (problem_.empty() && !wanted_ ? kPeriod : kSoon);
}

BootTime TrustedIssuer::Refresh(BootTime now) {
  {
    const std::lock_guard lock(mutex_);
    if (now < Due()) return Due();
    // Whoever misses a key from here on may miss one that is newer than what is read.
    wanted_ = false;
  }
  const absl::StatusOr<std::string> text = fetch_();
  absl::StatusOr<KeySet> keys = text.ok() ? KeySet::Parse(*text) : text.status();
  std::string problem;
  if (!keys.ok()) {
    problem = absl::StrCat("the keys of ", issuer_.issuer, " cannot be read from ", issuer_.jwks,
                           ": ", keys.status().message());
  }
  bool is_new = false;
  BootTime due;
  {
    const std::lock_guard lock(mutex_);
    tried_at_ = now;
    is_new = problem != problem_;
    problem_ = problem;
    if (keys.ok()) {
      keys_ = std::make_shared<const KeySet>(*std::move(keys));
      read_at_ = now;
    }
    due = Due();
  }
  if (is_new && !problem.empty()) report_(problem);
  return due;
}

bool TrustedIssuer::Issues(const Claims& claims) const {
  return claims.issuer == issuer_.issuer &&
         std::find(claims.audiences.begin(), claims.audiences.end(), issuer_.audience) !=
             claims.audiences.end();
}

absl::StatusOr<std::shared_ptr<const KeySet>> TrustedIssuer::Keys(BootTime now) const {
  const std::lock_guard lock(mutex_);
  if (keys_ == nullptr || now - read_at_ > kKeysLast) {
    return CodedError(absl::StatusCode::kUnavailable, "ServiceUnavailable",
                      absl::StrCat("the keys of ", issuer_.issuer,
                                   " cannot be read at present; try again in a minute"));
  }
  return keys_;
}

absl::StatusOr<std::string> TrustedIssuer::PrincipalOf(const std::string& token, const Now& now) {
  POSTERN_ASSIGN_OR_RETURN(const std::shared_ptr<const KeySet> keys, Keys(now.boot));
  const absl::StatusOr<std::string> payload = keys->Verify(token);
  if (absl::IsNotFound(payload.status())) {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
  }
  POSTERN_RETURN_IF_ERROR(payload.status());
  const std::optional<Claims> claims = ReadClaims(*payload, issuer_.principal_claim);
  if (!claims || !Issues(*claims)) {
    return absl::UnauthenticatedError("the token is not for this controller");
  }
  POSTERN_RETURN_IF_ERROR(CheckTimes(*claims, now.wall));
  std::string principal =
      absl::StrCat(claims->name, "@", absl::StripPrefix(issuer_.issuer, "https://"));
  if (claims->name.empty() || principal.size() > kMaxPrincipalBytes ||
      Printable(claims->name) != claims->name) {
    return absl::UnauthenticatedError(
        absl::StrCat("the token names nobody: its \"", issuer_.principal_claim,
                     "\" is missing, empty, too long or no text that can be shown"));
  }
  return principal;
}

}  // namespace postern::controller

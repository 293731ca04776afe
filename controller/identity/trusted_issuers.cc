#include "controller/identity/trusted_issuers.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/config/files.h"
#include "common/https/https.h"
#include "common/status.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxKeysBytes = 256 << 10;
// The plan is made anew at least this often.
constexpr absl::Duration kLongestWait = absl::Minutes(1);

}  // namespace

TrustedIssuers::TrustedIssuers(const std::vector<OidcIssuer>& issuers, const Clock& clock,
                               const Fetch& fetch,
                               const std::function<void(const std::string&)>& report)
    : clock_(clock) {
  for (const OidcIssuer& issuer : issuers) {
    issuers_.push_back(std::make_unique<TrustedIssuer>(
        issuer, [fetch, jwks = issuer.jwks] { return fetch(jwks); }, report));
  }
  if (!issuers_.empty()) thread_ = std::thread([this] { Run(); });
}

TrustedIssuers::~TrustedIssuers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void TrustedIssuers::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wanted_ = false;
    lock.unlock();
    BootTime next = clock_.Read().boot + kLongestWait;
    for (const std::unique_ptr<TrustedIssuer>& issuer : issuers_) {
      next = std::min(next, issuer->Refresh(clock_.Read().boot));
    }
    const absl::Duration wait = std::max(next - clock_.Read().boot, absl::ZeroDuration());
    lock.lock();
    changed_.wait_for(lock, absl::ToChronoNanoseconds(wait),
                      [this] { return stopping_ || wanted_; });
  }
}

TrustedIssuer* TrustedIssuers::Find(const std::string& token) {
  const std::optional<Claims> claims = ReadClaims(UnverifiedPayload(token), "sub");
  if (!claims) return nullptr;
  const auto found = std::find_if(issuers_.begin(), issuers_.end(),
                                  [&](const auto& issuer) { return issuer->Issues(*claims); });
  return found == issuers_.end() ? nullptr : found->get();
}

absl::StatusOr<std::string> TrustedIssuers::PrincipalOf(const std::string& token) {
  TrustedIssuer* issuer = Find(token);
  if (issuer == nullptr) {
    return absl::UnauthenticatedError(
        "the token is of no issuer and audience in controller.yaml (oidc)");
  }
  absl::StatusOr<std::string> principal = issuer->PrincipalOf(token, clock_.Read());
  if (!absl::IsNotFound(principal.status())) return principal;
  {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
  }
  changed_.notify_all();
  return absl::UnauthenticatedError(
      "the token names a key that its issuer did not have when it was last asked; it is asked "
      "again within a minute");
}

absl::StatusOr<std::string> FetchKeys(const std::string& jwks) {
  if (absl::StartsWith(jwks, "https://")) {
    POSTERN_ASSIGN_OR_RETURN(HttpsAnswer answer,
                             Exchange({.url = jwks,
                                       .headers = {{"Accept", "application/json"}},
                                       .max_bytes = kMaxKeysBytes}));
    if (answer.status == 200) return std::move(answer.body);
    return absl::UnavailableError(absl::StrCat("answers ", answer.status));
  }
  POSTERN_ASSIGN_OR_RETURN(FileContent file, ReadSmallFile(jwks, kMaxKeysBytes));
  return std::move(file.bytes);
}

}  // namespace postern::controller

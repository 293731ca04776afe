#include "controller/identity/authenticator.h"

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/pki/digest.h"
#include "common/status.h"
#include "controller/store/principals.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxTokenBytes = 8192;

absl::Status NotKnown() {
  // Which of these it is helps only who should not have it.
  return absl::UnauthenticatedError(
      "the token is unknown, revoked or over; an owner makes another (POST /postern/v1/tokens)");
}

}  // namespace

absl::StatusOr<std::string> Authenticator::Authenticate(
    absl::string_view authorization, const std::vector<std::string>& certificate_uris) {
  constexpr absl::string_view kScheme = "Bearer ";
  if (authorization.empty() && !certificate_uris.empty()) {
    return absl::StrCat("cert:", certificate_uris.front());
  }
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) {
    return absl::UnauthenticatedError("the call needs a token: \"Authorization: Bearer TOKEN\"");
  }
  const absl::string_view token = absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
  if (token.empty() || token.size() > kMaxTokenBytes) return NotKnown();
  // JSON Web Tokens have dots, and this controller's own have none.
  if (absl::StrContains(token, '.')) return issuers_.PrincipalOf(std::string(token));
  return PrincipalOfOwnToken(token);
}

absl::StatusOr<std::string> Authenticator::PrincipalOfOwnToken(absl::string_view token) {
  std::optional<AccessToken> found;
  const std::string hash = Sha256Hex(token);
  const absl::Status read = database_.Read([&](SqlTransaction& transaction) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(found, FindAccessToken(transaction, hash));
    return absl::OkStatus();
  });
  POSTERN_RETURN_IF_ERROR(read);
  if (!found || found->revoked || found->expires <= clock_.Read().wall) return NotKnown();
  return found->principal;
}

}  // namespace postern::controller

// Values out of a JSON body: each with its name in errors, its kind and its
// bounds. Pure. Errors are INVALID_ARGUMENT, InvalidRequestContent.

#ifndef POSTERN_CONTROLLER_REST_JSON_READING_H_
#define POSTERN_CONTROLLER_REST_JSON_READING_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "controller/domain/policy.h"
#include "controller/rest/http.h"

namespace postern::controller {

using Json = nlohmann::json;

// One object, of at most 32 levels, in UTF-8, with no key twice, sent as
// application/json: Azure's SDK reads an empty object out of anything else, and so
// nobody may rely on it.
absl::StatusOr<Json> ReadBody(const HttpRequest& request);

absl::Status WrongContent(absl::string_view message, const std::string& target);

// Refuses an object with a member that is none of these: what is Postern's own is never
// passed over for a slip of the pen. Azure's members are read as Azure does.
absl::Status CheckMembers(const Json& object, std::initializer_list<absl::string_view> known,
                          const std::string& at);

// nullptr where there is none, or where it is null.
const Json* FindMember(const Json& object, absl::string_view name);

// `at` is the name of `object` ("" for the body itself).
absl::StatusOr<const Json*> NeedObject(const Json& object, absl::string_view name,
                                       const std::string& at);
// A list of at most `most`; nullptr where there is none.
absl::StatusOr<const Json*> FindList(const Json& object, absl::string_view name,
                                     const std::string& at, size_t most);
absl::StatusOr<std::string> ReadText(const Json& object, absl::string_view name,
                                     const std::string& at, size_t most);
absl::StatusOr<std::string> NeedText(const Json& object, absl::string_view name,
                                     const std::string& at, size_t most);
// 0 to 65535; also as a string, as Terraform writes it.
absl::StatusOr<uint16_t> NeedPort(const Json& object, absl::string_view name,
                                  const std::string& at);
// ISO 8601: "PT3H".
absl::StatusOr<std::optional<absl::Duration>> ReadIsoDuration(const Json& object,
                                                              absl::string_view name,
                                                              const std::string& at);
// RFC 3339 in UTC or with an offset, with any number of digits of a fraction.
absl::StatusOr<std::optional<absl::Time>> ReadTime(const Json& object, absl::string_view name,
                                                   const std::string& at);
// allowedSourceAddressPrefix or allowedSourceAddressPrefixes, not both; empty where
// there is neither.
absl::StatusOr<std::optional<Sources>> ReadSources(const Json& object, const std::string& at);

// "a.b", or "b" in the body itself.
std::string NameIn(const std::string& at, absl::string_view name);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_JSON_READING_H_

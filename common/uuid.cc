#include "common/uuid.h"

#include <systemd/sd-id128.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr size_t kUuidLength = 36;

}  // namespace

std::string NewUuid() {
  sd_id128_t id{};
  // Fails only where getrandom(2) does, which systemd treats as fatal as well;
  // an all-zero id is then refused as a repeat rather than silently reused.
  if (sd_id128_randomize(&id) < 0) id = SD_ID128_NULL;
  char text[SD_ID128_UUID_STRING_MAX];
  return sd_id128_to_uuid_string(id, text);
}

absl::StatusOr<std::string> ParseUuid(absl::string_view text) {
  sd_id128_t id{};
  // sd_id128_from_string also takes 32 digits without dashes; one spelling
  // keeps an id searchable.
  if (text.size() != kUuidLength || text[8] != '-' ||
      sd_id128_from_string(std::string(text).c_str(), &id) < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", Printable(text.substr(0, kUuidLength)),
                     "\" is not a UUID such as 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11"));
  }
  char canonical[SD_ID128_UUID_STRING_MAX];
  return std::string(sd_id128_to_uuid_string(id, canonical));
}

}  // namespace postern

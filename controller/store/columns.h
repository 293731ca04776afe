// Values as the tables hold them.

#ifndef POSTERN_CONTROLLER_STORE_COLUMNS_H_
#define POSTERN_CONTROLLER_STORE_COLUMNS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controller/domain/policy.h"
#include "controller/store/database.h"

namespace postern::controller {

SqlValue TimeValue(absl::Time time);
SqlValue TimeValue(const std::optional<absl::Time>& time);
absl::Time TimeOf(const SqlRow& row, size_t column);
std::optional<absl::Time> OptionalTimeOf(const SqlRow& row, size_t column);
SqlValue DurationValue(absl::Duration duration);
absl::Duration DurationOf(const SqlRow& row, size_t column);

// What a policy holds besides its id and version, as one JSON object.
std::string PolicyBody(const Policy& policy);
// DATA_LOSS where `body` is not what PolicyBody wrote.
absl::Status ReadPolicyBody(const std::string& body, Policy& policy);

std::string SourcesText(const Sources& sources);
absl::StatusOr<Sources> ReadSources(const std::string& text);

// Names as a JSON list.
std::string NamesText(const std::vector<std::string>& names);
absl::StatusOr<std::vector<std::string>> ReadNames(const std::string& text);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_STORE_COLUMNS_H_

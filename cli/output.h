// Replies as JSON and YAML.

#ifndef POSTERN_CLI_OUTPUT_H_
#define POSTERN_CLI_OUTPUT_H_

#include <google/protobuf/message.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace postern {

// protobuf's JSON form, with the proto's field names and the zero values.
// Characters that could steer a terminal are written as \uNNNN. No newline at
// the end. INTERNAL for a message that has no JSON form (a time out of range).
absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message);
// The same on one line.
absl::StatusOr<std::string> ToJsonLine(const google::protobuf::Message& message);
// {"NAME": [...]}
absl::StatusOr<std::string> ToJsonList(
    const std::string& name, const std::vector<const google::protobuf::Message*>& messages);

// The data of ToJson as block YAML: same keys, same values, and what is a
// string there (64-bit numbers, times) is a string here.
std::string ToYaml(const google::protobuf::Message& message);
std::string ToYamlList(const std::string& name,
                       const std::vector<const google::protobuf::Message*>& messages);

// The same of an answer that is JSON already.
std::string JsonText(const nlohmann::json& answer);
std::string JsonToYaml(const nlohmann::json& answer);

// Keys and values, in order, for replies that are no message.
using Facts = std::vector<std::pair<std::string, std::string>>;
std::string FactsToJson(const Facts& facts);
std::string FactsToYaml(const Facts& facts);

}  // namespace postern

#endif  // POSTERN_CLI_OUTPUT_H_

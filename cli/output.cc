#include "cli/output.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "common/text.h"

namespace postern {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::util::JsonPrintOptions;
using google::protobuf::util::TimeUtil;

// protobuf escapes the control characters and leaves DEL and some of the
// direction overrides. In JSON they stand only within strings, where \uNNNN
// means the same.
std::string EscapeForTerminal(absl::string_view json) {
  std::string out;
  out.reserve(json.size());
  for (size_t i = 0; i < json.size();) {
    const auto lead = static_cast<unsigned char>(json[i]);
    const size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    const absl::string_view character = json.substr(i, wanted);
    i += character.size();
    const std::string shown = character == "\n" ? "\n" : Printable(character);
    if (shown == character) {
      absl::StrAppend(&out, character);
    } else if (lead < 0x80) {
      absl::StrAppendFormat(&out, "\\u%04x", lead);
    } else {
      // "\u{202e}" without its braces.
      absl::StrAppend(&out, absl::StrReplaceAll(shown, {{"{", ""}, {"}", ""}}));
    }
  }
  return out;
}

absl::StatusOr<std::string> Print(const Message& message, bool on_one_line) {
  JsonPrintOptions options;
  options.add_whitespace = !on_one_line;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) {
    return absl::InternalError(
        absl::StrCat("the agent's answer has no JSON form: ", Printable(status.ToString())));
  }
  absl::StripTrailingAsciiWhitespace(&json);
  return EscapeForTerminal(json);
}

// Whether YAML 1.1 and 1.2 readers take the bare text for a string.
bool IsPlainString(const std::string& text) {
  constexpr absl::string_view kOtherwise[] = {"y",    "n",    "yes", "no",  "on",
                                              "true", "null", "off", "nan", "false"};
  const auto inner = [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/' || c == ' ';
  };
  if (text.empty() || !absl::ascii_isalpha(static_cast<unsigned char>(text[0]))) return false;
  if (text.back() == ' ' || !std::all_of(text.begin(), text.end(), inner)) return false;
  const std::string lower = absl::AsciiStrToLower(text);
  return std::find(std::begin(kOtherwise), std::end(kOtherwise), lower) == std::end(kOtherwise);
}

void EmitString(YAML::Emitter& yaml, const std::string& text) {
  if (IsPlainString(text)) {
    yaml << text;
    return;
  }
  // Where something must be escaped, everything outside ASCII is: the emitter
  // has no finer choice.
  const bool safe = Printable(text) == text;
  yaml << (safe ? YAML::EmitNonAscii : YAML::EscapeNonAscii) << YAML::DoubleQuoted << text;
}

void EmitJson(YAML::Emitter& yaml, const nlohmann::json& value) {
  if (value.is_object()) {
    if (value.empty()) yaml << YAML::Flow;
    yaml << YAML::BeginMap;
    for (const auto& [key, member] : value.items()) {
      yaml << YAML::Key;
      EmitString(yaml, key);
      yaml << YAML::Value;
      EmitJson(yaml, member);
    }
    yaml << YAML::EndMap;
  } else if (value.is_array()) {
    if (value.empty()) yaml << YAML::Flow;
    yaml << YAML::BeginSeq;
    for (const nlohmann::json& item : value) EmitJson(yaml, item);
    yaml << YAML::EndSeq;
  } else if (value.is_string()) {
    EmitString(yaml, value.get<std::string>());
  } else if (value.is_null()) {
    yaml << YAML::Null;
  } else {
    // Numbers and truth look the same in both.
    yaml << value.dump();
  }
}

void EmitMessage(YAML::Emitter& yaml, const Message& message);

// Of a field that is set or has a zero value; `index` is -1 for a single one.
void EmitValue(YAML::Emitter& yaml, const Message& message, const FieldDescriptor* field,
               int index) {
  const Reflection* get = message.GetReflection();
  const bool one = index < 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      yaml << (one ? get->GetBool(message, field) : get->GetRepeatedBool(message, field, index));
      return;
    case FieldDescriptor::CPPTYPE_INT32:
      yaml << (one ? get->GetInt32(message, field) : get->GetRepeatedInt32(message, field, index));
      return;
    case FieldDescriptor::CPPTYPE_UINT32:
      yaml << (one ? get->GetUInt32(message, field)
                   : get->GetRepeatedUInt32(message, field, index));
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      EmitString(yaml, absl::StrCat(one ? get->GetUInt64(message, field)
                                        : get->GetRepeatedUInt64(message, field, index)));
      return;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number = one ? get->GetEnumValue(message, field)
                             : get->GetRepeatedEnumValue(message, field, index);
      const EnumValueDescriptor* value = field->enum_type()->FindValueByNumber(number);
      if (value == nullptr) {
        yaml << number;
      } else {
        yaml << value->name();
      }
      return;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      EmitMessage(yaml, one ? get->GetMessage(message, field)
                            : get->GetRepeatedMessage(message, field, index));
      return;
    default:
      EmitString(yaml, one ? get->GetString(message, field)
                           : get->GetRepeatedString(message, field, index));
  }
}

void EmitField(YAML::Emitter& yaml, const Message& message, const FieldDescriptor* field) {
  const Reflection* get = message.GetReflection();
  if (!field->is_repeated()) {
    if (field->has_presence() && !get->HasField(message, field)) return;
    yaml << YAML::Key << field->name() << YAML::Value;
    EmitValue(yaml, message, field, -1);
    return;
  }
  const int size = get->FieldSize(message, field);
  yaml << YAML::Key << field->name() << YAML::Value;
  if (size == 0) yaml << YAML::Flow;
  yaml << YAML::BeginSeq;
  for (int i = 0; i < size; ++i) EmitValue(yaml, message, field, i);
  yaml << YAML::EndSeq;
}

void EmitMessage(YAML::Emitter& yaml, const Message& message) {
  if (const auto* time = dynamic_cast<const google::protobuf::Timestamp*>(&message)) {
    yaml << YAML::DoubleQuoted << TimeUtil::ToString(*time);
    return;
  }
  if (const auto* duration = dynamic_cast<const google::protobuf::Duration*>(&message)) {
    yaml << YAML::DoubleQuoted << TimeUtil::ToString(*duration);
    return;
  }
  yaml << YAML::BeginMap;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    EmitField(yaml, message, message.GetDescriptor()->field(i));
  }
  yaml << YAML::EndMap;
}

}  // namespace

absl::StatusOr<std::string> ToJson(const Message& message) { return Print(message, false); }

absl::StatusOr<std::string> ToJsonLine(const Message& message) { return Print(message, true); }

absl::StatusOr<std::string> ToJsonList(const std::string& name,
                                       const std::vector<const Message*>& messages) {
  std::string out = absl::StrCat("{\n \"", name, "\": [");
  for (size_t i = 0; i < messages.size(); ++i) {
    absl::StatusOr<std::string> json = Print(*messages[i], false);
    if (!json.ok()) return json.status();
    // No string in JSON holds a newline, so indenting lines changes no data.
    absl::StrAppend(&out, i == 0 ? "\n  " : ",\n  ", absl::StrReplaceAll(*json, {{"\n", "\n  "}}));
  }
  absl::StrAppend(&out, messages.empty() ? "]\n}" : "\n ]\n}");
  return out;
}

std::string ToYaml(const Message& message) {
  YAML::Emitter yaml;
  EmitMessage(yaml, message);
  return yaml.c_str();
}

std::string ToYamlList(const std::string& name, const std::vector<const Message*>& messages) {
  YAML::Emitter yaml;
  yaml << YAML::BeginMap << YAML::Key << name << YAML::Value;
  if (messages.empty()) yaml << YAML::Flow;
  yaml << YAML::BeginSeq;
  for (const Message* message : messages) EmitMessage(yaml, *message);
  yaml << YAML::EndSeq << YAML::EndMap;
  return yaml.c_str();
}

std::string JsonText(const nlohmann::json& answer) {
  return EscapeForTerminal(answer.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
}

std::string JsonToYaml(const nlohmann::json& answer) {
  YAML::Emitter yaml;
  EmitJson(yaml, answer);
  return yaml.c_str();
}

std::string FactsToJson(const Facts& facts) {
  const auto quoted = [](const std::string& text) {
    google::protobuf::Value value;
    value.set_string_value(text);
    // A file's name need not be UTF-8, which protobuf demands.
    if (!IsUtf8(text)) value.set_string_value(Printable(text));
    return Print(value, true).value_or("\"\"");
  };
  std::string out = "{";
  for (size_t i = 0; i < facts.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "\n " : ",\n ", quoted(facts[i].first), ": ",
                    quoted(facts[i].second));
  }
  return absl::StrCat(out, "\n}");
}

std::string FactsToYaml(const Facts& facts) {
  YAML::Emitter yaml;
  yaml << YAML::BeginMap;
  for (const auto& [key, value] : facts) {
    yaml << YAML::Key << key << YAML::Value;
    EmitString(yaml, value);
  }
  yaml << YAML::EndMap;
  return yaml.c_str();
}

}  // namespace postern

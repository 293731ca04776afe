#include "cli/grammar.h"

#include "absl/strings/str_cat.h"
#include "common/duration.h"
#include "common/status.h"
#include "common/text.h"
#include "common/uuid.h"

namespace postern {

CLI::App* AddVerb(CLI::App& parent, const std::string& name, const std::string& description,
                  const std::string& examples) {
  CLI::App* verb = parent.add_subcommand(name, description);
  // Options of the whole tool are taken after the verb as well.
  verb->fallthrough();
  std::string footer;
  if (!examples.empty()) absl::StrAppend(&footer, "Examples:\n", examples, "\n\n");
  absl::StrAppend(&footer,
                  "Options of every command (-o, --socket, --address, ...): posternctl --help");
  verb->footer(footer);
  return verb;
}

CLI::Option* AddValue(CLI::App& app, const std::string& names, std::string& into,
                      const std::string& type, const std::string& description) {
  return app.add_option(names, into, description)->type_name(type);
}

CLI::Option* AddValues(CLI::App& app, const std::string& names, std::vector<std::string>& into,
                       const std::string& type, const std::string& description) {
  return app.add_option(names, into, description)
      ->type_name(type)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

absl::Status About(const std::string& option, const absl::Status& status) {
  return Annotate(status, option);
}

absl::StatusOr<absl::Duration> ReadLength(const std::string& option, const std::string& text) {
  const absl::StatusOr<absl::Duration> length = ParseDuration(text);
  POSTERN_RETURN_IF_ERROR(About(option, length.status()));
  if (*length == absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": must be longer than zero"));
  }
  return *length;
}

absl::StatusOr<std::string> ReadId(const std::string& option, const std::string& text) {
  absl::StatusOr<std::string> id = ParseUuid(text);
  POSTERN_RETURN_IF_ERROR(About(option, id.status()));
  return id;
}

absl::StatusOr<std::vector<Prefix>> ReadSources(const std::vector<std::string>& texts) {
  std::vector<Prefix> sources;
  for (const std::string& text : texts) {
    const absl::StatusOr<Prefix> source = Prefix::Parse(text);
    POSTERN_RETURN_IF_ERROR(About("--from", source.status()));
    sources.push_back(*source);
  }
  return sources;
}

absl::Status CheckUtf8(const std::string& option, const std::string& text) {
  if (IsUtf8(text)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(option, ": the text is not UTF-8"));
}

}  // namespace postern

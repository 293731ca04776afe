// How each verb's options are declared and turned into its command. Internal
// to the command line.

#ifndef POSTERN_CLI_GRAMMAR_H_
#define POSTERN_CLI_GRAMMAR_H_

#include <CLI/App.hpp>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/command.h"
#include "cli/environment.h"

namespace postern {

// Turns what CLI11 stored into a command, or says which option is wrong.
using Builder = std::function<absl::StatusOr<Command>(const Environment&)>;

struct Verb {
  const CLI::App* app = nullptr;
  Builder build;
};

// Each adds its verbs to `app` and to `verbs`. What the options write to lives
// as long as the builders.
void AddAccessVerbs(CLI::App& app, std::vector<Verb>& verbs);
void AddReadingVerbs(CLI::App& app, std::string& audit_format, std::vector<Verb>& verbs);
void AddStandingVerbs(CLI::App& app, std::vector<Verb>& verbs);
void AddPkiVerbs(CLI::App& app, std::vector<Verb>& verbs);
void AddPolicyVerbs(CLI::App& app, std::vector<Verb>& verbs);
void AddRequestVerbs(CLI::App& app, std::vector<Verb>& verbs);
void AddVmVerbs(CLI::App& app, std::vector<Verb>& verbs);
void AddPrincipalVerbs(CLI::App& app, std::vector<Verb>& verbs);
void AddSshVerbs(CLI::App& app, std::vector<Verb>& verbs);

// A subcommand with the manners all of ours share.
CLI::App* AddVerb(CLI::App& parent, const std::string& name, const std::string& description,
                  const std::string& examples);

// A value that must be there, once.
CLI::Option* AddValue(CLI::App& app, const std::string& names, std::string& into,
                      const std::string& type, const std::string& description);
// A value that may be repeated, one to each use of the option.
CLI::Option* AddValues(CLI::App& app, const std::string& names, std::vector<std::string>& into,
                       const std::string& type, const std::string& description);

// `status` with the option it is about before its message.
absl::Status About(const std::string& option, const absl::Status& status);

// `text` as a duration that is longer than zero.
absl::StatusOr<absl::Duration> ReadLength(const std::string& option, const std::string& text);
absl::StatusOr<std::string> ReadId(const std::string& option, const std::string& text);

// The sources that --from names.
absl::StatusOr<std::vector<Prefix>> ReadSources(const std::vector<std::string>& texts);
// INVALID_ARGUMENT unless `text` is UTF-8, which protobuf needs.
absl::Status CheckUtf8(const std::string& option, const std::string& text);

}  // namespace postern

#endif  // POSTERN_CLI_GRAMMAR_H_

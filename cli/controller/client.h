// Calls to a controller's REST interface.

#ifndef POSTERN_CLI_CONTROLLER_CLIENT_H_
#define POSTERN_CLI_CONTROLLER_CLIENT_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/controller/commands.h"
#include "common/https/https.h"

namespace postern {

using Json = nlohmann::json;

// Failures are what ServerFailure() makes: the controller's message, with its code
// as an absl::StatusCode.
class ControllerClient {
 public:
  // Reads the files that `place` names. `warnings` gets what is worth knowing about
  // them. `timeout` bounds each call.
  static absl::StatusOr<ControllerClient> Open(const ControllerPlace& place, absl::Duration timeout,
                                               std::vector<std::string>& warnings);

  // `path` begins with "/" and is encoded already. An answer without a body is null.
  absl::StatusOr<Json> Get(const std::string& path) const;
  absl::StatusOr<Json> Call(const std::string& method, const std::string& path,
                            const Json& body) const;
  // As Call() with POST, safe to repeat, which is done once where no answer came.
  absl::StatusOr<Json> PostOnce(const std::string& path, const Json& body) const;
  // All pages of what `path` (with a query) lists under `name`.
  absl::StatusOr<Json> List(const std::string& path, const std::string& name) const;
  // Hands the body of the answer over as it comes, however long that takes.
  absl::Status Stream(const std::string& path,
                      const std::function<absl::Status(absl::string_view)>& take) const;

 private:
  ControllerClient() = default;
  HttpsRequest To(const std::string& path) const;
  absl::StatusOr<HttpsAnswer> Send(const HttpsRequest& request, const std::string& path) const;
  absl::StatusOr<Json> Ask(const std::string& method, const std::string& path, const Json* body,
                           const std::string& id) const;
  // What mends that there was no answer.
  std::string HintFor(const absl::Status& failure) const;

  std::string url_;
  std::string authorization_;
  std::string ca_file_;
  std::string authorities_;
  std::string certificate_;
  std::string key_;
  absl::Duration timeout_;
};

// The text under `name`, safe to show; "" where there is none.
std::string TextOf(const Json& object, absl::string_view name);
// The list under `name`; an empty one where there is none.
const Json& ListOf(const Json& object, absl::string_view name);
// The object under `name`; an empty one where there is none.
const Json& ObjectOf(const Json& object, absl::string_view name);
// 0 where there is none.
int64_t NumberOf(const Json& object, absl::string_view name);

}  // namespace postern

#endif  // POSTERN_CLI_CONTROLLER_CLIENT_H_

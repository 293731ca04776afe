// Helpers around absl::Status.

#ifndef POSTERN_COMMON_STATUS_H_
#define POSTERN_COMMON_STATUS_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace postern {

// `status` with "context: " before its message; code and payloads stay.
// An OK status stays as it is.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

// An error for a failed system call: "context: strerror (errno N)". The code
// follows absl::ErrnoToStatusCode.
absl::Status ErrnoStatus(int error_number, absl::string_view context);

// INVALID_ARGUMENT about one field of a request. rpc/ turns each into a
// google.rpc.BadRequest field violation.
absl::Status FieldError(absl::string_view field, absl::string_view description);

// The field that a FieldError names, or "" for another status.
std::string FieldOf(const absl::Status& status);

}  // namespace postern

#define POSTERN_CONCAT_INNER(a, b) a##b
#define POSTERN_CONCAT(a, b) POSTERN_CONCAT_INNER(a, b)

// Returns from the enclosing function when `expression` is not OK.
#define POSTERN_RETURN_IF_ERROR(expression)                             \
  do {                                                                  \
    if (absl::Status status_of_it = (expression); !status_of_it.ok()) { \
      return status_of_it;                                              \
    }                                                                   \
  } while (false)

// Assigns the value of a StatusOr to `declaration`, or returns its error.
#define POSTERN_ASSIGN_OR_RETURN(declaration, expression) \
  POSTERN_ASSIGN_OR_RETURN_INNER(POSTERN_CONCAT(status_or_, __LINE__), declaration, expression)
#define POSTERN_ASSIGN_OR_RETURN_INNER(variable, declaration, expression) \
  auto variable = (expression);                                           \
  if (!variable.ok()) return std::move(variable).status();                \
  declaration = *std::move(variable)

#endif  // POSTERN_COMMON_STATUS_H_

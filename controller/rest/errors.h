// Errors as Azure's clients read them.

#ifndef POSTERN_CONTROLLER_REST_ERRORS_H_
#define POSTERN_CONTROLLER_REST_ERRORS_H_

#include "absl/status/status.h"
#include "controller/rest/http.h"

namespace postern::controller {

// The HTTP status for `status`; 500 for what is nobody's mistake but ours.
int HttpStatusOf(const absl::Status& status);

// {"error":{"code","message","target"?}} with that status. Of an error that says
// how this controller is built only its kind is told.
HttpResponse ErrorResponse(const absl::Status& status);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_ERRORS_H_

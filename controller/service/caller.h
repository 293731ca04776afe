// Who asks the controller for something.

#ifndef POSTERN_CONTROLLER_SERVICE_CALLER_H_
#define POSTERN_CONTROLLER_SERVICE_CALLER_H_

#include <optional>
#include <string>

#include "common/prefix.h"

namespace postern::controller {

// What the controller does by itself is on record as this principal's. Nobody's token
// is for it.
inline constexpr char kController[] = "postern-controller";

// An authenticated caller and the call.
struct Caller {
  // "user:ana" (a static token's), "sub@issuer" (OIDC), "cert:URI".
  std::string principal = {};
  // Where the connection comes from.
  std::optional<Address> address = {};
  // One id for all that this call leads to; x-ms-correlation-request-id where
  // the client gave one, otherwise made by the server.
  std::string correlation_id = {};
  // x-ms-client-request-id: repeats of an initiate have the same. May be empty.
  std::string client_request_id = {};
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_SERVICE_CALLER_H_

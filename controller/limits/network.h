// Whom a stranger counts as, where each may do something only so often.

#ifndef POSTERN_CONTROLLER_LIMITS_NETWORK_H_
#define POSTERN_CONTROLLER_LIMITS_NETWORK_H_

#include <optional>
#include <string>

#include "common/prefix.h"

namespace postern::controller {

// Of a peer: itself, and of IPv6 the network of 64 bits, all of whose addresses one
// host may have. "" where nobody is known.
std::string NetworkOf(const std::optional<Address>& peer);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_LIMITS_NETWORK_H_

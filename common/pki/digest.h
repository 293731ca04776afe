// Digests of text.

#ifndef POSTERN_COMMON_PKI_DIGEST_H_
#define POSTERN_COMMON_PKI_DIGEST_H_

#include <string>

#include "absl/strings/string_view.h"

namespace postern {

// SHA-256 (FIPS 180-4) by OpenSSL, as 64 lower-case hexadecimal digits.
std::string Sha256Hex(absl::string_view bytes);

}  // namespace postern

#endif  // POSTERN_COMMON_PKI_DIGEST_H_

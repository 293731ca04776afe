// What the fuzz targets share.

#ifndef POSTERN_TESTS_FUZZ_FUZZ_H_
#define POSTERN_TESTS_FUZZ_FUZZ_H_

#include <cstdlib>
#include <iostream>

#include "absl/strings/string_view.h"
#include "common/text.h"

// Ends the run, as a crash does, where `condition` does not hold. libFuzzer keeps
// the input.
#define FUZZ_CHECK(condition)                                             \
  do {                                                                    \
    if (!(condition)) postern::FailCheck(__FILE__, __LINE__, #condition); \
  } while (false)

namespace postern {

[[noreturn]] inline void FailCheck(const char* file, int line, const char* condition) {
  std::cerr << file << ":" << line << ": does not hold: " << condition << std::endl;
  std::abort();
}

// Whether a message may be shown: it steers no terminal, forges no line, and is
// bounded whatever it is about.
inline bool IsGoodMessage(absl::string_view message, size_t most_bytes) {
  return !message.empty() && message.size() <= most_bytes && Printable(message) == message;
}

inline absl::string_view AsText(const unsigned char* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace postern

#endif  // POSTERN_TESTS_FUZZ_FUZZ_H_

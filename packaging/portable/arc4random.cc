// arc4random(3), which glibc has since 2.36, for programs that are to run with 2.34
// but hold a C++ library made for 2.36: its std::random_device calls it.

#include <unistd.h>

#include <cstdint>
#include <cstdlib>

extern "C" uint32_t arc4random() noexcept {
  uint32_t number = 0;
  // So few bytes come whole; before the kernel has any, it waits.
  if (getentropy(&number, sizeof(number)) != 0) std::abort();
  return number;
}

// Netlink messages in memory that ends where they do.

#ifndef POSTERN_TESTS_FUZZ_GUARDED_H_
#define POSTERN_TESTS_FUZZ_GUARDED_H_

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tests/fuzz/fuzz.h"

namespace postern {

// Behind the copy is a page that nobody may read: libmnl is not instrumented, so
// AddressSanitizer alone would not see it read too far.
class Guarded {
 public:
  Guarded() : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    void* const mapped =
        mmap(nullptr, kRoom + page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FUZZ_CHECK(mapped != MAP_FAILED);
    end_ = static_cast<char*>(mapped) + kRoom;
    FUZZ_CHECK(mprotect(end_, page_, PROT_NONE) == 0);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  // A copy of the `size` bytes at `bytes`, aligned as netlink aligns. Valid until
  // the next one.
  char* Copy(const void* bytes, size_t size) {
    FUZZ_CHECK(size <= kRoom);
    const size_t aligned = MNL_ALIGN(size);
    ASAN_UNPOISON_MEMORY_REGION(end_ - aligned, aligned);
    std::memcpy(end_ - aligned, bytes, size);
    ASAN_POISON_MEMORY_REGION(end_ - aligned + size, aligned - size);
    return end_ - aligned;
  }

 private:
  static constexpr size_t kRoom = size_t{1} << 16;

  const size_t page_;
  char* end_ = nullptr;
};

// Shows `take` each message of the datagram in `data`, in memory of its own.
// `is_whole` tells whether a message stands there in the bytes that are left.
template <typename IsWhole, typename Take>
void ForEachMessage(const uint8_t* data, size_t size, IsWhole is_whole, Take take) {
  static Guarded& datagram = *new Guarded;
  static Guarded& alone = *new Guarded;
  auto left = static_cast<int>(size);
  const auto* message = reinterpret_cast<const nlmsghdr*>(datagram.Copy(data, size));
  for (; is_whole(message, left); message = mnl_nlmsg_next(message, &left)) {
    take(*reinterpret_cast<nlmsghdr*>(alone.Copy(message, message->nlmsg_len)));
  }
}

}  // namespace postern

#endif  // POSTERN_TESTS_FUZZ_GUARDED_H_

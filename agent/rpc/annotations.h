// What ThreadSanitizer cannot see for itself.
//
// gRPC's completion queue hands objects from thread to thread, but gRPC's library
// is not built with the sanitizer, which takes each handing over for a race.

#ifndef POSTERN_AGENT_RPC_ANNOTATIONS_H_
#define POSTERN_AGENT_RPC_ANNOTATIONS_H_

#if defined(__SANITIZE_THREAD__)
#define POSTERN_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define POSTERN_THREAD_SANITIZER
#endif
#endif

#ifdef POSTERN_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace postern {

// All that this thread has done so far comes before what another does after
// AnnotateTaken of the same object.
inline void AnnotateGiven([[maybe_unused]] void* object) {
#ifdef POSTERN_THREAD_SANITIZER
  __tsan_release(object);
#endif
}

inline void AnnotateTaken([[maybe_unused]] void* object) {
#ifdef POSTERN_THREAD_SANITIZER
  __tsan_acquire(object);
#endif
}

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_ANNOTATIONS_H_

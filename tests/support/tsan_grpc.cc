// What ThreadSanitizer is to overlook in programs that use gRPC. Debian's
// libraries are not built with it, so that it sees neither their atomics nor the
// order that these make: each access by one of them looks like a race.

#if defined(__SANITIZE_THREAD__)
#define POSTERN_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define POSTERN_THREAD_SANITIZER
#endif
#endif

#ifdef POSTERN_THREAD_SANITIZER

extern "C" const char* __tsan_default_options() {  // NOLINT(bugprone-reserved-identifier)
  return "ignore_noninstrumented_modules=1";
}

extern "C" const char* __tsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "race:libgrpc.so\n"
         "race:libgrpc++.so\n"
         "race:libgrpc++_reflection.so\n"
         "race:libgpr.so\n"
         "race:libabsl_\n"
         "race:libupb.so\n"
         "race:libprotobuf.so\n"
         "race:libcrypto.so\n"
         "race:libssl.so\n";
}

#endif

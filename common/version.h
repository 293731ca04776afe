// What these programs are called a version of.

#ifndef POSTERN_COMMON_VERSION_H_
#define POSTERN_COMMON_VERSION_H_

namespace postern {

extern const char kVersion[];

}  // namespace postern

#endif  // POSTERN_COMMON_VERSION_H_

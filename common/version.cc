#include "common/version.h"

namespace postern {

const char kVersion[] = POSTERN_VERSION;

}  // namespace postern

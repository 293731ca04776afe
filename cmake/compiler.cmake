set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# Every target of ours links this; the generated protobuf code does not.
add_library(postern_warnings INTERFACE)
target_compile_options(postern_warnings INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -Wcast-align -Wformat=2 -Wimplicit-fallthrough -Wextra-semi -Wundef)

# Paths in messages and in the journal's CODE_FILE are relative to the source.
add_compile_options(-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)
include_directories(${PROJECT_SOURCE_DIR})

if(NOT POSTERN_SANITIZE)
  add_compile_options(-fstack-protector-strong -fstack-clash-protection -fcf-protection)
  add_compile_definitions($<$<CONFIG:Release,RelWithDebInfo>:_FORTIFY_SOURCE=2>)
  add_link_options(-Wl,-z,relro,-z,now)
else()
  add_compile_options(-fsanitize=${POSTERN_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${POSTERN_SANITIZE})
endif()

# postern_hot(TARGET): what the simulation runs millions of times. To optimise the checks
# of the sanitizers takes longer than it saves, so that the preset debug leaves all else
# as it is.
function(postern_hot target)
  if(POSTERN_SANITIZE)
    target_compile_options(${target} PRIVATE -O1)
  endif()
endfunction()

if(POSTERN_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "POSTERN_FUZZ needs clang, for libFuzzer: cmake --preset fuzz")
  endif()
  # Counts what is reached. libFuzzer itself is linked into the targets alone.
  add_compile_options(-fsanitize=fuzzer-no-link -fno-sanitize-recover=all)
endif()

# postern_portable(TARGET): the target TARGET_portable, which is TARGET's own
# objects linked once more for other distributions: gRPC, protobuf, absl, yaml-cpp
# and the C++ library are in the program. Built only when asked for.

find_package(Python3 REQUIRED COMPONENTS Interpreter)

# The shared libraries to replace, and after each what its archive needs in turn.
set(POSTERN_PORTABLE_ARCHIVES protobuf yaml-cpp grpc++_reflection ${grpc_STATIC_LIBRARIES})
list(REMOVE_DUPLICATES POSTERN_PORTABLE_ARCHIVES)
# Of the list, these have one interface on every distribution.
list(REMOVE_ITEM POSTERN_PORTABLE_ARCHIVES ssl crypto dl rt atomic pthread)
list(JOIN POSTERN_PORTABLE_ARCHIVES "," POSTERN_PORTABLE_ARCHIVES)

function(postern_portable target)
  set(link_archives ${PROJECT_SOURCE_DIR}/cmake/link_archives.py)
  add_executable(${target}_portable EXCLUDE_FROM_ALL
    $<TARGET_OBJECTS:${target}> ${PROJECT_SOURCE_DIR}/packaging/portable/arc4random.cc)
  target_link_libraries(${target}_portable PRIVATE $<TARGET_PROPERTY:${target},LINK_LIBRARIES>)
  target_link_options(${target}_portable PRIVATE -static-libstdc++ -Wl,--as-needed)
  set_target_properties(${target}_portable PROPERTIES
    OUTPUT_NAME ${target}
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/portable
    LINKER_LANGUAGE CXX
    LINK_DEPENDS ${link_archives}
    RULE_LAUNCH_LINK "${Python3_EXECUTABLE} ${link_archives} ${POSTERN_PORTABLE_ARCHIVES}")
endfunction()

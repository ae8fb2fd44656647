# Functions shared by the runtime, the tools and the tests.

if(SEQPAR_SANITIZE)
  add_compile_options(-fsanitize=${SEQPAR_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SEQPAR_SANITIZE})
  if(SEQPAR_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

function(seqpar_add_subdirectory_if_present name)
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/CMakeLists.txt)
    add_subdirectory(${name})
  endif()
endfunction()

# A static library of the runtime. Never sees a header of MLIR or LLVM.
function(seqpar_add_runtime_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/runtime/include)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wno-unused-parameter)
  target_link_libraries(${name} PUBLIC ${ARG_LIBS} fmt::fmt Threads::Threads)
endfunction()

# Has TestPaths.h: where tests find their files. A header, so that only what includes it depends on the folders' names
# and a compiler cache serves the other sources in any folder.
set(SEQPAR_TEST_INCLUDE_DIR ${CMAKE_BINARY_DIR}/test/include)

# A GoogleTest program in build/test/unit; tools/dev/check runs all that are there.
function(seqpar_add_unit_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${SEQPAR_TEST_INCLUDE_DIR})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/unit)
endfunction()

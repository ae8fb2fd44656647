# Functions of the compiler half: everything that links MLIR links the shared libMLIR and libLLVM.

list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

add_library(seqpar_mlir INTERFACE)
target_include_directories(seqpar_mlir SYSTEM INTERFACE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
target_include_directories(seqpar_mlir INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
target_link_libraries(seqpar_mlir INTERFACE MLIR LLVM)

# A static library of the compiler. DEPENDS names TableGen targets. Most of the compiler's time is spent in libMLIR and
# libLLVM, so it is built for a quick build.
function(seqpar_add_compiler_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wno-unused-parameter -Wno-deprecated-declarations
                         $<$<CONFIG:Release>:-O1>)
  target_link_libraries(${name} PUBLIC seqpar_mlir ${ARG_LIBS})
  add_dependencies(${name} seqpar_tablegen ${ARG_DEPENDS})
endfunction()

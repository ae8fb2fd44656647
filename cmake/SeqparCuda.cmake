# The CUDA toolkit, of which everything is optional. Nothing of it is linked: libraries and the driver are loaded when
# they are needed, so the programs run on machines without them. SEQPAR_CUDA_ROOT names the toolkit's folder when it is
# not in a usual place.
#
# For the compiler:
#   SEQPAR_NVRTC                   libnvrtc, which compiles the CUDA C++ of a program
#   SEQPAR_CUDA_INCLUDE            folder of the headers that this text includes
#   SEQPAR_NVCC                    nvcc, only for a test
# For the runtime's back end:
#   SEQPAR_HAVE_CUDA               whether it can be built
#   SEQPAR_HAVE_NCCL               whether it has NCCL
#   SEQPAR_CUDA_INCLUDE_DIR, SEQPAR_CUBLASLT_INCLUDE_DIR, SEQPAR_NCCL_INCLUDE_DIR
set(SEQPAR_CUDA_LEAST 13000)

set(SEQPAR_CUDA_ROOT "" CACHE PATH "Folder of the CUDA toolkit (default: CUDA_HOME, CUDA_PATH, /usr/local/cuda)")
set(places HINTS ${SEQPAR_CUDA_ROOT} ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES)
find_library(SEQPAR_NVRTC NAMES nvrtc libnvrtc.so.13 libnvrtc.so.12 NAMES_PER_DIR ${places} lib lib64)
find_path(SEQPAR_CUDA_INCLUDE cuda_bf16.h ${places} include)
find_program(SEQPAR_NVCC nvcc ${places} bin)
find_path(SEQPAR_CUDA_INCLUDE_DIR cuda.h ${places} include)
find_path(SEQPAR_CUBLASLT_INCLUDE_DIR cublasLt.h ${places} include)
find_path(SEQPAR_NCCL_INCLUDE_DIR nccl.h ${places} include)
mark_as_advanced(SEQPAR_NVRTC SEQPAR_CUDA_INCLUDE SEQPAR_NVCC SEQPAR_CUDA_INCLUDE_DIR SEQPAR_CUBLASLT_INCLUDE_DIR
                 SEQPAR_NCCL_INCLUDE_DIR)

# These are compiled into programs as paths: empty when not found.
set(found "")
foreach(part NVRTC CUDA_INCLUDE NVCC)
  if(SEQPAR_${part})
    list(APPEND found ${SEQPAR_${part}})
  else()
    set(SEQPAR_${part} "")
  endif()
endforeach()
if(NOT SEQPAR_BUILD_COMPILER)
elseif(SEQPAR_NVRTC)
  message(STATUS "CUDA: ${found}")
else()
  message(STATUS "CUDA: no NVRTC found; --device=cuda cannot compile kernels until there is one, and its tests are off")
endif()

set(lacks "")
if(NOT SEQPAR_CUDA_INCLUDE_DIR)
  set(lacks "cuda.h")
elseif(NOT SEQPAR_CUBLASLT_INCLUDE_DIR)
  set(lacks "cublasLt.h")
else()
  file(STRINGS ${SEQPAR_CUDA_INCLUDE_DIR}/cuda.h line REGEX "^#define CUDA_VERSION [0-9]+")
  string(REGEX MATCH "[0-9]+" version "${line}")
  if(NOT version OR version LESS SEQPAR_CUDA_LEAST)
    set(lacks "a toolkit of version 13 or later (found ${version})")
  endif()
endif()
set(SEQPAR_HAVE_CUDA OFF)
set(SEQPAR_HAVE_NCCL OFF)
if(lacks)
  message(STATUS "CUDA back end: not built, this machine lacks ${lacks}")
else()
  set(SEQPAR_HAVE_CUDA ON)
  if(SEQPAR_NCCL_INCLUDE_DIR)
    set(SEQPAR_HAVE_NCCL ON)
    set(with "NCCL with ${SEQPAR_NCCL_INCLUDE_DIR}")
  else()
    set(with "without NCCL, this machine lacks nccl.h")
  endif()
  message(STATUS "CUDA back end: built with ${SEQPAR_CUDA_INCLUDE_DIR}; ${with}")
endif()

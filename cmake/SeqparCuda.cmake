# The CUDA toolkit, of which everything is optional. SEQPAR_CUDA_ROOT names its folder when it is not in a usual place.
#   SEQPAR_NVRTC         libnvrtc: compiles the CUDA C++ of a program; loaded when it is needed, never linked
#   SEQPAR_CUDA_INCLUDE  folder of the toolkit's headers
#   SEQPAR_NVCC          nvcc, only for a test

set(SEQPAR_CUDA_ROOT "" CACHE PATH "Folder of the CUDA toolkit (default: CUDA_HOME, CUDA_PATH, /usr/local/cuda)")
set(SEQPAR_CUDA_HINTS ${SEQPAR_CUDA_ROOT} $ENV{CUDA_HOME} $ENV{CUDA_PATH} /usr/local/cuda)
find_library(SEQPAR_NVRTC NAMES nvrtc libnvrtc.so.13 libnvrtc.so.12 NAMES_PER_DIR HINTS ${SEQPAR_CUDA_HINTS} PATH_SUFFIXES lib lib64)
find_path(SEQPAR_CUDA_INCLUDE NAMES cuda_bf16.h HINTS ${SEQPAR_CUDA_HINTS} PATH_SUFFIXES include)
find_program(SEQPAR_NVCC NAMES nvcc HINTS ${SEQPAR_CUDA_HINTS} PATH_SUFFIXES bin)
mark_as_advanced(SEQPAR_NVRTC SEQPAR_CUDA_INCLUDE SEQPAR_NVCC)

foreach(part NVRTC CUDA_INCLUDE NVCC)
  if(SEQPAR_${part})
    list(APPEND SEQPAR_CUDA_FOUND ${SEQPAR_${part}})
  else()
    set(SEQPAR_${part} "")
  endif()
endforeach()
if(SEQPAR_NVRTC)
  message(STATUS "CUDA: ${SEQPAR_CUDA_FOUND}")
else()
  message(STATUS "CUDA: no NVRTC found; --device=cuda cannot compile kernels until there is one, and its tests are off")
endif()

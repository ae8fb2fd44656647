# Tests of the back ends: one conformance suite, one program per back end.
set(DEVICE_CONFORMANCE
  ${CMAKE_CURRENT_SOURCE_DIR}/DeviceAttention.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/DeviceAttention16Conformance.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/DeviceAttentionConformance.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/DeviceGemmConformance.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/DeviceKernels.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/DeviceMemoryConformance.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/DeviceRowKernelConformance.cpp)

# The kernels' images have no sanitizer and no library, like those of the compiler.
set(DEVICE_KERNELS ${CMAKE_CURRENT_BINARY_DIR}/device-kernels-)
foreach(target x86-64-v3 x86-64-v4)
  add_custom_command(
    OUTPUT ${DEVICE_KERNELS}${target}.so
    COMMAND ${CMAKE_C_COMPILER} -O2 -fPIC -shared -nostdlib -march=${target}
            -o ${DEVICE_KERNELS}${target}.so ${CMAKE_CURRENT_SOURCE_DIR}/DeviceKernels.c
    DEPENDS DeviceKernels.c COMMENT "Compiling the device tests' kernels for ${target}")
  list(APPEND DEVICE_KERNEL_IMAGES ${DEVICE_KERNELS}${target}.so)
endforeach()

seqpar_add_unit_test(rt_device_cpu_test
  SOURCES DeviceCpuTest.cpp Float16Test.cpp PhiloxTest.cpp ProgramBuilder.cpp ThreadPoolTest.cpp ${DEVICE_CONFORMANCE} ${DEVICE_KERNEL_IMAGES}
  LIBS seqpar_rt_cpu seqpar_program)
target_compile_definitions(rt_device_cpu_test PRIVATE SEQPAR_DEVICE_KERNELS="${DEVICE_KERNELS}")

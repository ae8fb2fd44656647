# Tests of communicators, programs, the executor and training.
seqpar_add_unit_test(rt_communicator_thread_test
  SOURCES CommunicatorThreadTest.cpp CommunicatorConformance.cpp
  LIBS seqpar_rt_comm)
seqpar_add_unit_test(rt_communicator_link_test
  SOURCES CommunicatorLinkTest.cpp CommunicatorConformance.cpp
  LIBS seqpar_rt_comm)
seqpar_add_unit_test(rt_tcp_wire_test SOURCES LaunchTest.cpp TcpWireTest.cpp LIBS seqpar_rt_comm)
foreach(test rt_communicator_link_test rt_tcp_wire_test)
  target_include_directories(${test} PRIVATE ${PROJECT_SOURCE_DIR}/runtime/comm)
endforeach()

set(RUNTIME_TOY ProgramBuilder.cpp TestDevice.cpp ToyModel.cpp)
# Started in several processes, from lit tests.
seqpar_add_unit_test(communicator-processes
  SOURCES CommunicatorProcessesTest.cpp CommunicatorConformance.cpp
  LIBS seqpar_rt_comm)
seqpar_add_unit_test(trainer-processes SOURCES TrainerProcesses.cpp ${RUNTIME_TOY} LIBS seqpar_rt_core)
set_target_properties(communicator-processes trainer-processes PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
# Runs a compiled program, from a lit test.
seqpar_add_unit_test(equal-parameters SOURCES EqualParameters.cpp LIBS seqpar_rt)
set_target_properties(equal-parameters PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
set(PROGRAM_BOUNDS ProgramBoundsTest.cpp)
if(SEQPAR_SANITIZE MATCHES "thread")
  # It runs programs with changed bytes. Those stay inside their memory, which the address sanitizer checks, but what
  # they overwrite while it is in transit to another rank is a race of the changed program.
  set(PROGRAM_BOUNDS)
endif()
seqpar_add_unit_test(rt_program_file_test
  SOURCES CudaCodeTest.cpp ProgramFileTest.cpp ${PROGRAM_BOUNDS} ${RUNTIME_TOY} LIBS seqpar_rt_core)
seqpar_add_unit_test(rt_executor_test
  SOURCES ExecutorTest.cpp ExecutorInputsTest.cpp ExecutorTypesTest.cpp PipelineTest.cpp ShardedUpdateTest.cpp ${RUNTIME_TOY} LIBS seqpar_rt_core)
# Counts allocations by an operator new of its own; the thread sanitizer brings one too.
if(NOT SEQPAR_SANITIZE MATCHES "thread")
  seqpar_add_unit_test(rt_executor_allocation_test
    SOURCES ExecutorAllocationTest.cpp ${RUNTIME_TOY} LIBS seqpar_rt_core)
endif()
seqpar_add_unit_test(rt_safetensors_test SOURCES SafetensorsTest.cpp LIBS seqpar_rt_checkpoint)
seqpar_add_unit_test(rt_feed_test SOURCES FeedTest.cpp LIBS seqpar_rt_core)
seqpar_add_unit_test(rt_trainer_test
  SOURCES LossScaleTrainingTest.cpp TrainerInputsTest.cpp TrainerTest.cpp ${RUNTIME_TOY} LIBS seqpar_rt_core)
seqpar_add_unit_test(rt_options_test
  SOURCES DeviceMemoryTest.cpp LossScaleTest.cpp OptionsTest.cpp ${RUNTIME_TOY} LIBS seqpar_rt_core)
seqpar_add_unit_test(rt_tensorboard_test SOURCES TensorBoardTest.cpp ${RUNTIME_TOY} LIBS seqpar_rt_core)
# They test parts that are no interface of the library.
foreach(test rt_feed_test rt_options_test rt_tensorboard_test)
  target_include_directories(${test} PRIVATE ${PROJECT_SOURCE_DIR}/runtime/core)
endforeach()

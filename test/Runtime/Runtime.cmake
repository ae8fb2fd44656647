# Tests of communicators, programs, the executor and training.
seqpar_add_unit_test(rt_communicator_thread_test
  SOURCES CommunicatorThreadTest.cpp CommunicatorConformance.cpp
  LIBS seqpar_rt_comm)

set(RUNTIME_TOY ProgramBuilder.cpp TestDevice.cpp ToyModel.cpp)
seqpar_add_unit_test(rt_program_file_test
  SOURCES ProgramFileTest.cpp ${RUNTIME_TOY} LIBS seqpar_rt_core)
seqpar_add_unit_test(rt_executor_test
  SOURCES ExecutorTest.cpp ${RUNTIME_TOY} LIBS seqpar_rt_core)

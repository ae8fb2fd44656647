import os
import shutil
import subprocess

import lit.formats

config.name = "seqpar"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "golden", "Fuzz"]
config.test_source_root = os.path.join(config.seqpar_source_dir, "test")
config.test_exec_root = os.path.join(config.seqpar_binary_dir, "test")
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.seqpar_binary_dir, "bin"), config.llvm_tools_dir, os.environ["PATH"]])
# Of an instrumented build: libMLIR and libLLVM are not, so what their headers poison here, they do not clear.
config.environment["ASAN_OPTIONS"] = "detect_container_overflow=0:allow_user_poisoning=0"
config.environment["FILECHECK_OPTS"] = "--enable-var-scope --dump-input-filter=error"
config.substitutions.append(("%models", os.path.join(config.seqpar_source_dir, "models")))
config.substitutions.append(("%test", config.test_source_root))
config.substitutions.append(("%source", config.seqpar_source_dir))
config.substitutions.append(("%buildtest", os.path.join(config.seqpar_binary_dir, "test")))

# More processes than cores, and as root in a container: Open MPI wants to be told.
if config.have_mpi:
    config.available_features.add("mpi")
else:
    lit_config.note("no MPI: tests of processes that mpirun starts are off")
# Namespaces of the network stand for machines.
namespace = f"seqpar-lit-{os.getpid()}"
if subprocess.run(f"ip netns add {namespace} && ip netns del {namespace}", shell=True, capture_output=True).returncode == 0:
    config.available_features.add("netns")
else:
    lit_config.note("no network namespaces: the tests of two machines are off")
config.substitutions.append(("%mpirun", "mpirun --oversubscribe"))
config.environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
config.environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"

# What is compiled is compiled anew, unless a test is about that.
config.environment["SEQPAR_CUDA_IMAGES"] = "off"
# Tests that compile CUDA C++ need a part of the toolkit, which CMake looks for.
if config.seqpar_nvrtc:
    config.available_features.add("nvrtc")
else:
    lit_config.note("no NVRTC: tests that compile CUDA kernels are off")
if os.path.exists(os.path.join(config.seqpar_binary_dir, "test", "bin", "cuda-plan-races")):
    config.available_features.add("fake-cuda")
else:
    lit_config.note("built without headers of CUDA, cuBLASLt and NCCL: the test of programs on several GPUs is off")
if config.seqpar_nvcc and shutil.which("g++"):
    config.available_features.add("nvcc")
    config.substitutions.append(("%nvcc", config.seqpar_nvcc))
else:
    lit_config.note("no nvcc with g++: the test that compiles CUDA C++ with it is off")

# The scripts that compare numbers need a Python with NumPy, which need not be the first one in the PATH.
for python in ("python3", "/usr/bin/python3"):
    if subprocess.run([python, "-c", "import numpy"], capture_output=True).returncode == 0:
        config.substitutions.append(("%python", python))
        break
else:
    lit_config.fatal("no python3 with numpy: run tools/dev/setup")

import os

import lit.formats

config.name = "seqpar"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "golden", "Fuzz"]
config.test_source_root = os.path.join(config.seqpar_source_dir, "test")
config.test_exec_root = os.path.join(config.seqpar_binary_dir, "test")
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.seqpar_binary_dir, "bin"), config.llvm_tools_dir, os.environ["PATH"]])
config.environment["FILECHECK_OPTS"] = "--enable-var-scope --dump-input-filter=error"
config.substitutions.append(("%models", os.path.join(config.seqpar_source_dir, "models")))
config.substitutions.append(("%test", config.test_source_root))
config.substitutions.append(("%source", config.seqpar_source_dir))

# ruff: noqa: F821 (lit defines config)
"""lit's configuration: tests of IR text, run with ``dtmm-opt`` and pip's ``filecheck``."""

import os
import sys

import lit.formats

config.name = "dtmm-mlir"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = lit_config.params.get("out", os.path.join(config.test_source_root, "Output"))
config.environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
config.environment.update({name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")})

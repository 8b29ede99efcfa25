"""LiteRT's reference kernels, where ai-edge-litert is installed."""

from __future__ import annotations

import importlib.util
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

INSTALLED = importlib.util.find_spec("ai_edge_litert") is not None


def load() -> None:
    """Imports LiteRT now, so that a child of this process need not."""
    if INSTALLED:
        import ai_edge_litert.interpreter  # noqa: F401


Arrays = list[np.ndarray]


def run(path: Path, seed: int) -> tuple[Arrays, Arrays]:
    """Random inputs of the model, and what the reference kernels make of them."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    random = np.random.default_rng(seed)
    reference = OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=path.read_bytes(), experimental_op_resolver_type=reference)
    interpreter.allocate_tensors()
    inputs = [_values(detail, random) for detail in interpreter.get_input_details()]
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return inputs, [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def try_run(path: Path, seed: int) -> tuple[Arrays, Arrays] | None:
    """As ``run``, in a child process; ``None`` where LiteRT refuses the model or crashes."""
    if not INSTALLED:
        return None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            inputs, outputs = run(path, seed)
            buffer = io.BytesIO()
            np.savez(buffer, len(inputs), *inputs, *outputs)
            with os.fdopen(writer, "wb") as file:
                file.write(buffer.getvalue())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    if not data:
        return None
    count, *arrays = np.load(io.BytesIO(data)).values()
    return arrays[: int(count)], arrays[int(count) :]


def _values(detail: Any, random: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(detail["dtype"])
    if dtype.kind == "f":
        return random.uniform(-1, 1, detail["shape"]).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, detail["shape"], dtype, endpoint=True)

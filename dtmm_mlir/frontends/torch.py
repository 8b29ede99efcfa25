"""PyTorch models as torch-dialect MLIR in IREE's context.

Needs the ``torch`` extra; it is imported when ``import_torch`` is called.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from iree.compiler import ir

from dtmm_mlir.errors import DtmmError

if TYPE_CHECKING:
    import torch

_CODE = re.compile(r"\bdata/(?:aotinductor/|constants/(?:custom_obj_|opaque_obj_))")
_GRAPH = re.compile(r"(?:\bmodels/[^/]*|serialized_exported_program)\.json$")
_LARGEST_GRAPH = 256 << 20
_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_LIBRARIES = ("/site-packages/torch/", "/dist-packages/torch/")


def import_torch(
    source: torch.nn.Module | torch.export.ExportedProgram | str | Path,
    context: ir.Context,
    example_inputs: Sequence[torch.Tensor] | None = None,
) -> ir.Module:
    """Reads a PyTorch model: float32, or int8 from ``quantize_int8`` or another PT2E flow.

    Args:
        source: a module (put into evaluation mode and exported), an exported program, or a path to a ``.pt2`` file.
            Of a ``.pt2`` only tensors and the graph are read; one that holds other objects, native code or symbolic
            expressions, which loading would run, is refused.
        context: from ``create_context``.
        example_inputs: for a module only: tensors that fix the shapes of its arguments, NCHW, batch included.

    Returns:
        A module with ``func.func @main`` on ``!torch.vtensor``, weights as ``dense<>``. Locations are the name of the
        submodule with file and line of the model's source. ``TorchToTosa`` takes it from there.

    Raises:
        DtmmError: the model cannot be read or exported, has dynamic shapes, NaN or infinity in its parameters, or
            the ``torch`` extra is not installed.
    """
    _require_extra()
    program = _exported(source, example_inputs)
    _reject_dynamic_shapes(program)
    _reject_non_finite(program)
    bytecode = _torch_dialect(program)
    try:
        return ir.Module.parse(bytecode, context)
    except ir.MLIRError as error:
        raise DtmmError(f"IREE cannot read what torch-mlir wrote: {error.message}.") from error


def _require_extra() -> None:
    try:
        import torch  # noqa: F401
        import torch_mlir.extras.fx_importer  # noqa: F401
    except ImportError as error:
        raise DtmmError(
            f"reading PyTorch models needs PyTorch and torch-mlir ({error}); pip install 'dtmm-mlir[torch]'."
        ) from error


def _exported(source: Any, example_inputs: Sequence[torch.Tensor] | None) -> torch.export.ExportedProgram:
    import torch

    if isinstance(source, torch.export.ExportedProgram):
        return source
    if isinstance(source, str | Path):
        return _load(Path(source))
    if not isinstance(source, torch.nn.Module):
        raise DtmmError(f"a {type(source).__name__} is neither a module, an exported program nor a path.")
    if example_inputs is None:
        raise DtmmError("a module needs example_inputs, which fix the shapes of its arguments.")
    try:
        return torch.export.export(source.eval(), tuple(example_inputs))
    except Exception as error:  # whatever tracing a user's code may raise
        raise DtmmError(f"torch.export cannot export the model: {_first_line(error)}") from error


def _load(path: Path) -> torch.export.ExportedProgram:
    import torch
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the quantized_decomposed ops

    if not path.is_file():
        raise DtmmError("there is no such file.", where=str(path))
    _refuse_code(path)
    try:
        with _only_tensors():
            return torch.export.load(path)
    except Exception as error:  # zip, pickle, version and schema errors alike
        raise DtmmError(
            f"torch {torch.__version__} cannot load this exported program: {_first_line(error)} The file may be "
            "truncated or come from another version of PyTorch; save it again with torch.export.save.",
            where=str(path),
        ) from error


def _refuse_code(path: Path) -> None:
    """Raises DtmmError for an archive with anything that torch would execute as it loads it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            graphs = [archive.read(name) for name in names if _GRAPH.search(name) and _is_small(archive, name)]
    except (OSError, ValueError, NotImplementedError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return  # torch says what is wrong with it
    for name in names:
        if found := _CODE.search(name):
            raise DtmmError(
                f"the exported program holds more than tensors and a graph ('{found[0]}'), and loading that runs code "
                "from the file; export the plain model with torch.export.save.",
                where=str(path),
            )
    if any(b'"expr_str"' in graph for graph in graphs):
        raise DtmmError(
            "the exported program has symbolic sizes, so its shapes are dynamic; export the model with fixed sizes, "
            "batch included.",
            where=str(path),
        )


def _is_small(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether an entry is no bomb; raises DtmmError if it is."""
    if archive.getinfo(name).file_size > _LARGEST_GRAPH:
        raise DtmmError(f"'{name}' unpacks to more than {_LARGEST_GRAPH >> 20} MiB.", where=archive.filename)
    return True


@contextlib.contextmanager
def _only_tensors() -> Iterator[None]:
    """Makes every ``torch.load`` within refuse pickles of anything but tensors and plain containers."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else type(error).__name__
    return text if text.endswith(".") else text + "."


def _reject_dynamic_shapes(program: torch.export.ExportedProgram) -> None:
    import torch

    inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op != "placeholder" or node.name not in inputs or not isinstance(value, torch.Tensor):
            continue
        if any(not isinstance(size, int) for size in value.shape):
            sizes = "x".join(str(size) for size in value.shape)
            raise DtmmError(
                f"the input has the dynamic shape {sizes}; export the model with fixed sizes, batch included.",
                where=node.name,
            )


def _reject_non_finite(program: torch.export.ExportedProgram) -> None:
    import torch

    for name, tensor in [*program.state_dict.items(), *program.constants.items()]:
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DtmmError("the parameter contains NaN or infinity; the training has diverged.", where=name)


def _torch_dialect(program: torch.export.ExportedProgram) -> bytes:
    """``program`` as bytecode of torch-mlir's, in-place ops made functional."""
    from torch_mlir import ir as torch_ir
    from torch_mlir.dialects import torch as torch_dialect
    from torch_mlir.extras.fx_importer import FxImporter

    context = torch_ir.Context()
    torch_dialect.register_dialect(context)
    importer = FxImporter(context=context, hooks=_dense_weights())
    importer._cc = _located(context, importer._py_attr_tracker)
    try:
        importer.import_frozen_program(program.run_decompositions({}), func_name="main")
    except Exception as error:  # its importer raises whatever the graph makes it
        raise DtmmError(f"torch-mlir cannot import the model: {_first_line(error)}") from error
    stream = io.BytesIO()
    importer.module.operation.write_bytecode(stream)
    return stream.getvalue()


def _dense_weights() -> Any:
    """Import hooks that write weights as ``dense<>``: Python cannot read ``dense_resource<>``."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
    from torch_mlir import ir as torch_ir
    from torch_mlir.extras.fx_importer import FxImporterHooks

    elements = {
        torch.float32: torch_ir.F32Type.get,
        torch.int8: lambda: torch_ir.IntegerType.get_signless(8),
        torch.int32: lambda: torch_ir.IntegerType.get_signless(32),
        torch.int64: lambda: torch_ir.IntegerType.get_signless(64),
    }

    class DenseWeights(FxImporterHooks):
        def resolve_literal(self, gni: Any, literal: Any, info: Any) -> Any:
            known = isinstance(literal, torch.Tensor) and literal.dtype in elements and literal.numel() > 1
            if not known or isinstance(literal, FakeTensor):
                return None
            with unset_fake_temporarily():
                array = np.ascontiguousarray(literal.detach().cpu().numpy())
            kind = torch_ir.RankedTensorType.get(list(array.shape), elements[literal.dtype]())
            value = torch_ir.DenseElementsAttr.get(array, type=kind)
            result = gni._cc.tensor_to_vtensor_type(literal)
            return torch_ir.Operation.create(
                "torch.vtensor.literal", results=[result], attributes={"value": value}
            ).result

    return DenseWeights()


def _located(context: Any, tracker: Any) -> Any:
    """The importer's cache, giving each op the submodule's name and the model's own source line."""
    from torch_mlir import ir as torch_ir
    from torch_mlir.extras.fx_importer import ContextCache

    class Located(ContextCache):
        def get_node_location(self, node: torch.fx.Node) -> Any:
            frames = _FRAME.findall(node.meta.get("stack_trace") or "")
            own = [frame for frame in frames if not any(library in frame[0] for library in _LIBRARIES)]
            modules = [name for name, _ in (node.meta.get("nn_module_stack") or {}).values()]
            place = torch_ir.Location.unknown(context)
            if own:
                file, line = own[-1]
                place = torch_ir.Location.file(file, int(line), 1, context)
            name = modules[-1] if modules and modules[-1] else node.name
            return torch_ir.Location.name(name, place, context)

    return Located(context, py_attr_tracker=tracker)

"""Textual pass pipelines in which this project's passes and IREE's stand side by side."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from iree.compiler import ir
from iree.compiler.passmanager import PassManager

from dtmm_mlir.errors import DtmmError
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.registry import PASSES, get_pass


@dataclasses.dataclass(frozen=True)
class NativePass:
    """A pass of IREE's or MLIR's, or a nested pipeline of such, in textual form.

    Attributes:
        text: what stands in the pipeline, e.g. ``canonicalize{top-down=false}`` or ``func.func(cse)``.
    """

    text: str

    @property
    def name(self) -> str:
        return self.text.split("{")[0]

    def __call__(self, module: ir.Module) -> ir.Module:
        """Runs on ``module`` in place; raises ``ir.MLIRError`` when the pass fails."""
        PassManager.parse(f"builtin.module({self.text})", module.context).run(module.operation)
        return module


Step: TypeAlias = Pass | NativePass
Observer = Callable[[Step, ir.Module], None]


def parse_pipeline(text: str) -> list[Step]:
    """Reads ``builtin.module(filterlet-capture,filterlet-plan{target=cortex-m55},canonicalize)``.

    Names of this project's passes become passes, all else is given to IREE's pass manager.

    Raises:
        DtmmError: the text is malformed, or a pass or an option is unknown or has a wrong value.
    """
    text = text.strip()
    anchor, opened, rest = text.partition("(")
    if not opened or anchor.strip() != "builtin.module" or not rest.endswith(")"):
        raise _error(text, "a pipeline is written 'builtin.module(pass,pass{option=value},...)'")
    return [_parse_step(item, text) for item in _split(rest[:-1], ",", text)]


def make_step(name: str, options: str = "") -> Step:
    """The step that the flag ``--name=options`` of ``dtmm-opt`` stands for; raises as ``parse_pipeline`` does."""
    return _parse_step(f"{name}{{{options}}}" if options else name, name)


def parse_options(cls: Any, text: str, pipeline: str) -> dict[str, Any]:
    """Reads ``option=value option=value``, the fields of a dataclass, as in a pipeline.

    Args:
        cls: a pass, or another dataclass with a ``name``.
        pipeline: where the text stands, for errors.

    Raises:
        DtmmError: the text is malformed, or an option is unknown or has a wrong value.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    options: dict[str, Any] = {}
    for item in _split(text, " ", pipeline):
        key, given, value = item.partition("=")
        field = key.replace("-", "_")
        if field not in fields:
            known = ", ".join(name.replace("_", "-") for name in fields) or "none"
            raise _error(pipeline, f"'{cls.name}' has no option '{key}'; its options are: {known}")
        try:
            options[field] = _convert(value if given else "true", fields[field])
        except ValueError as error:
            raise _error(pipeline, f"option '{key}' of '{cls.name}': {error}") from None
    return options


def run_pipeline(
    module: ir.Module, steps: Sequence[Step], before: Observer | None = None, after: Observer | None = None
) -> ir.Module:
    """Runs ``steps`` on ``module`` in place and verifies it after each.

    Args:
        module: any module whose context knows the filterlet dialect.
        steps: passes in the order to run.
        before: called with every step ahead of it.
        after: called with every step once it succeeded and the module was verified.

    Raises:
        PassError: a pass of this project, or the verifier of the filterlet ops, rejects an op.
        ir.MLIRError: a native pass or MLIR's verifier fails.
    """
    for step in steps:
        if before:
            before(step, module)
        step(module)
        verify(module)
        if after:
            after(step, module)
    return module


def verify(module: ir.Module) -> None:
    """MLIR's verifier, then the one of the filterlet ops.

    Raises:
        ir.MLIRError: MLIR finds an invalid op.
        PassError: a filterlet op is inconsistent.
    """
    module.operation.verify()
    get_pass("filterlet-verify")()(module)


def _parse_step(item: str, pipeline: str) -> Step:
    name, opened, rest = item.partition("{")
    name = name.strip()
    if name not in PASSES:
        if any(own in item for own in PASSES) and "(" in item:
            raise _error(pipeline, f"'{item}' nests a pass that runs on whole modules; put it at the outer level")
        return _parse_native(item, pipeline)
    if opened and not rest.endswith("}"):
        raise _error(pipeline, f"the options of '{name}' do not end with '}}'")
    cls = get_pass(name)
    return cls(**parse_options(cls, rest[:-1] if opened else "", pipeline))


def _parse_native(item: str, pipeline: str) -> NativePass:
    try:
        with ir.Context():
            PassManager.parse(f"builtin.module({item})")
    except ValueError as error:
        reason = str(error).splitlines()[0].partition("error: ")[2] or str(error)
        raise _error(pipeline, f"{reason}; this project's passes are {', '.join(PASSES)}") from None
    return NativePass(item)


def _convert(text: str, hint: Any) -> Any:
    """``text`` as a value of the annotated type; raises ValueError in words."""
    text = text.strip("\"'")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert(text, next(kind for kind in arguments if kind is not type(None)))
    if origin in (tuple, list):
        return origin(_convert(item, arguments[0]) for item in text.split(",") if item)
    if origin is typing.Literal:
        if text not in arguments:
            raise ValueError(f"'{text}' is none of {', '.join(arguments)}")
        return text
    if hint is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"'{text}' is neither true nor false")
        return text.lower() in ("true", "1")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ValueError(f"'{text}' is not a number of type {hint.__name__}") from None
    return Path(text) if hint is Path else text


def _split(text: str, separator: str, pipeline: str) -> list[str]:
    """Splits at ``separator`` outside brackets and quotes; drops empty items."""
    items, depth, quote, start = [], 0, "", 0
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "({":
            depth += 1
        elif character in ")}":
            depth -= 1
            if depth < 0:
                raise _error(pipeline, "brackets do not match")
        elif character == separator and depth == 0:
            items.append(text[start:at])
            start = at + 1
    if depth or quote:
        raise _error(pipeline, "brackets or quotes do not match")
    items.append(text[start:])
    return [item.strip() for item in items if item.strip()]


def _error(pipeline: str, message: str) -> DtmmError:
    return DtmmError(f"{message}.", where=f"pass pipeline '{pipeline}'")

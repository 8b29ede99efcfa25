"""Which bytes of its bindings each dispatch touches, read from IREE's IR of the executables.

IREE passes whole resources to a dispatch; where in them its tensors lie is in the dispatch's own code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk

_SUBSPAN = "hal.interface.binding.subspan"
_SHAPED = re.compile(r"(?:memref|tensor)<(?P<shape>(?:\d+x)*)[a-z]+(?P<bits>\d+)")
_CASTS = ("arith.index_cast", "arith.index_castui", "util.assume.int")


@dataclass(frozen=True)
class Span:
    """A tensor within a binding.

    Attributes:
        binding: number of the binding.
        offset: in bytes; ``None`` where it is the dispatch's constant ``constant``.
        constant: number of the 32-bit argument that is the offset; ``None`` where the offset is known.
        length: in bytes.
    """

    binding: int
    offset: int | None
    constant: int | None
    length: int

    def start(self, constants: Sequence[int]) -> int:
        """Its offset, given the dispatch's constants."""
        if self.offset is not None:
            return self.offset
        assert self.constant is not None
        return constants[self.constant]


def read_spans(module: ir.Module) -> dict[str, list[Span]]:
    """The spans of each dispatch function of ``module``, which stopped after IREE's phase ``executable-sources``.

    A function with a span that is not understood is left out: nothing but its bindings is known of it.
    """
    spans: dict[str, list[Span]] = {}
    for function in walk(module, "func.func"):
        found = [_span(op) for op in walk(function, _SUBSPAN)]
        known = [span for span in found if span is not None]
        if found and len(known) == len(found):
            spans[ir.StringAttr(function.attributes["sym_name"]).value] = known
    return spans


def _span(op: ir.Operation) -> Span | None:
    shaped = _SHAPED.search(str(op.result.type))
    if shaped is None or not op.operands:
        return None
    offset, constant = _offset(op.operands[0])
    if offset is None and constant is None:
        return None
    length = prod(int(size) for size in shaped["shape"].split("x") if size) * int(shaped["bits"]) // 8
    return Span(ir.IntegerAttr(op.attributes["binding"]).value, offset, constant, length)


def _offset(value: ir.Value) -> tuple[int | None, int | None]:
    """A constant, or the number of the argument that ``value`` is."""
    owner = value.owner
    if isinstance(owner, ir.Block):
        return None, None
    op = owner.operation
    if op.name in _CASTS:
        return _offset(op.operands[list(op.results).index(value)])
    if op.name == "arith.constant":
        return ir.IntegerAttr(op.attributes["value"]).value, None
    if op.name == "hal.interface.constant.load":
        return None, ir.IntegerAttr(op.attributes["ordinal"]).value
    return None, None


Spans = Mapping[str, Sequence[Span]]

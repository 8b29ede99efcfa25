"""The bytes behind IREE's constant attributes."""

from __future__ import annotations

import re

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import attribute_array

_COMPOSITE = re.compile(r"#util\.composite<(\d+)xi8, \[(.*)\]>$", re.DOTALL)
_BYTE_PATTERN = re.compile(r"#util\.byte_pattern<(-?\d+)> : (.*)$", re.DOTALL)
_UNINITIALIZED = re.compile(r"#util\.uninitialized : (.*)$", re.DOTALL)


def attribute_bytes(attribute: ir.Attribute) -> bytes:
    """What ``attribute`` looks like in memory, little-endian and packed.

    Raises:
        ValueError: it is of a kind, or of an element type, that is not understood.
    """
    text = "" if isinstance(attribute, ir.DenseElementsAttr) else str(attribute)
    if match := _COMPOSITE.match(text):
        return _composite_bytes(int(match.group(1)), match.group(2), attribute.context)
    if match := _BYTE_PATTERN.match(text):
        return bytes([int(match.group(1)) & 0xFF]) * _type_bytes(match.group(2), attribute.context)
    if match := _UNINITIALIZED.match(text):
        return bytes(_type_bytes(match.group(1), attribute.context))
    if isinstance(attribute, ir.IntegerAttr):
        return _integer_bytes(attribute)
    try:
        array = attribute_array(attribute)
    except KeyError as error:
        raise ValueError(f"constants of element type {error.args[0]} are not supported") from None
    if array is None:
        raise ValueError(f"the constant {text[:60]} is not understood")
    return np.ascontiguousarray(array).tobytes()


def _composite_bytes(size: int, body: str, context: ir.Context) -> bytes:
    """Concatenates the parts of ``#util.composite<SIZExi8, [BODY]>``."""
    data = b"".join(attribute_bytes(ir.Attribute.parse(part, context)) for part in _split(body))
    if len(data) != size:
        raise ValueError(f"the parts of a composite of {size} bytes have {len(data)} bytes")
    return data


def _split(body: str) -> list[str]:
    """Splits at the commas that lie outside brackets and strings."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r'"[^"]*"|->|[<\[({>\])},]', body):
        token = match.group()
        if token in "<[({":
            depth += 1
        elif token in ">])}":
            depth -= 1
        elif token == "," and depth == 0:
            parts.append(body[start : match.start()].strip())
            start = match.end()
    parts.append(body[start:].strip())
    return [part for part in parts if part]


def _integer_bytes(attribute: ir.IntegerAttr) -> bytes:
    width = getattr(attribute.type, "width", 0)
    if width not in (1, 8, 16, 32, 64):
        raise ValueError(f"constants of type {attribute.type} are not supported")
    size = max(width // 8, 1)
    return (int(attribute.value) & ((1 << (8 * size)) - 1)).to_bytes(size, "little")


def _type_bytes(text: str, context: ir.Context) -> int:
    """Packed size of a shaped or integer type."""
    parsed = ir.Type.parse(text, context)
    count, element = 1, parsed
    if isinstance(parsed, ir.ShapedType):
        count, element = int(np.prod(parsed.shape, dtype=np.int64)), parsed.element_type
    width = getattr(element, "width", 0)
    if width not in (1, 8, 16, 32, 64):
        raise ValueError(f"constants of element type {element} are not supported")
    return count * max(width // 8, 1)

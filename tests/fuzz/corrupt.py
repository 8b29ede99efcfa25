"""Damage to files, as transport, editors and malice do it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_BOMBS = (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff" * 9, b"\x00" * 8, b"99999999999999")


@st.composite
def corrupted(draw: st.DrawFn, original: bytes) -> bytes:
    """``original`` after one to four changes: bytes flipped, cut out, repeated, inserted, or turned into huge sizes."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        size = len(data)
        # Headers and tables lie at both ends of most formats.
        place = draw(st.sampled_from(("anywhere", "start", "end")))
        low = max(0, size - 256) if place == "end" else 0
        high = min(size, 256) if place == "start" else size
        at = draw(st.integers(low, high))
        kind = draw(st.sampled_from(("flip", "flip", "bomb", "bomb", "cut", "truncate", "insert", "repeat", "zero")))
        length = draw(st.sampled_from((1, 2, 4, 8, 64, 1000)))
        if kind == "flip" and at < size:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "bomb":
            bomb = draw(st.sampled_from(_BOMBS))
            data[at : at + len(bomb)] = bomb
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "truncate":
            del data[at:]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "repeat":
            data[at:at] = data[at : at + length]
        elif kind == "zero":
            data[at : at + length] = bytes(len(data[at : at + length]))
    return bytes(data)


@st.composite
def flipped(draw: st.DrawFn, original: bytes) -> bytes:
    """``original`` with one to three bits flipped anywhere: most often still a well-formed file."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@st.composite
def damaged_json(draw: st.DrawFn, original: bytes) -> bytes:
    """A JSON text with one to three of its values replaced by others, or left out."""
    value = json.loads(original)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        holder, key = draw(st.sampled_from(places))
        if draw(st.integers(0, 3)):
            holder[key] = copy.deepcopy(draw(st.sampled_from(_VALUES)))  # later damage may change a list
        else:
            del holder[key]
    return json.dumps(value).encode()


_VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 3, 1 << 31, 1 << 70, 1e400, 0.5, "", "x", "../x", "/etc/passwd", [], [[]], {}, {"a": 1}, [0],
)  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or object within ``value``, with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
    if not keys:
        yield [0], 0

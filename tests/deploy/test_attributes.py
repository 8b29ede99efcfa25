"""Constant attributes as bytes."""

import numpy as np
import pytest
from iree.compiler import ir

from dtmm_mlir.deploy.attributes import attribute_bytes


def _bytes(text: str) -> bytes:
    with ir.Context():
        return attribute_bytes(ir.Attribute.parse(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dense<[1, -2]> : tensor<2xi8>", b"\x01\xfe"),
        ("dense<-2> : tensor<3xi16>", b"\xfe\xff" * 3),
        ("dense<[true, false]> : tensor<2xi1>", b"\x01\x00"),
        ("dense<[1.0, -2.5]> : tensor<2xf32>", np.array([1, -2.5], "<f4").tobytes()),
        ("dense<9> : vector<2xi64>", b"\x09\0\0\0\0\0\0\0" * 2),
        ("258 : i16", b"\x02\x01"),
        ("#util.byte_pattern<171> : tensor<2x2xi8>", b"\xab" * 4),
        ("#util.uninitialized : tensor<3xi32>", b"\0" * 12),
    ],
)
def test_bytes(text: str, expected: bytes) -> None:
    assert _bytes(text) == expected


def test_composites_nest() -> None:
    inner = "#util.composite<3xi8, [dense<7> : tensor<1xi8>, dense<0> : vector<2xi8>]>"
    assert _bytes(f"#util.composite<7xi8, [dense<[1]> : tensor<1xi32>, {inner}]>") == b"\1\0\0\0\7\0\0"


def test_composites_hold_long_constants() -> None:
    data = bytes(range(256))
    assert _bytes(f'#util.composite<256xi8, [dense<"0x{data.hex()}"> : tensor<256xi8>]>') == data


@pytest.mark.parametrize(
    "text", ["dense<1> : tensor<2xi4>", '"text"', "#util.composite<4xi8, [dense<0> : vector<2xi4>]>"]
)
def test_what_is_not_understood_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"not (supported|understood)"):
        _bytes(text)

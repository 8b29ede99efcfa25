"""Thumb-1 assembly, run by a small interpreter: the right sums, with operands that its instructions can have."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtmm_mlir.passes.kernels.products import Product
from dtmm_mlir.passes.kernels.thumb1_assembly import CHANGED, DATA, SUMS, WEIGHTS, assembly

_VECTORS, _INPUTS = 40, 6000
_LOW = {f"r{i}" for i in range(8)}


class Core:
    """Runs instructions on some weights and inputs; addresses count from the first of each."""

    def __init__(self, weights: np.ndarray, inputs: np.ndarray, shift: int) -> None:
        self.weights, self.inputs, self.shift = weights, inputs, shift
        self.registers = {WEIGHTS: 0, DATA: 0} | dict.fromkeys(SUMS, 0)

    def run(self, line: str) -> None:
        name, rest = line.split(" ", 1)
        if name == "ldm":
            self._load_inputs(rest)
            return
        target, *operands = (operand for operand in re.split(r"[,\s\[\]]+", rest) if operand)
        assert target in (*CHANGED, *SUMS, WEIGHTS, DATA)
        if name in ("mov", "add"):
            assert operands[0] in self.registers
        else:
            assert {target, *(operand for operand in operands if operand[0] != "#")} <= _LOW
        values = [int(o[1:]) if o[0] == "#" else self.registers[o] for o in operands]
        value = self._result(name, self.registers.get(target, 0), values, operands)
        self.registers[target] = (value + 2**31) % 2**32 - 2**31

    def _result(self, name: str, old: int, values: list[int], operands: list[str]) -> int:
        a, b = values[-2:] if len(values) > 1 else (old, values[0])
        immediate = operands[-1][0] == "#"
        match name:
            case "mov" | "movs":
                assert not immediate or 0 <= b < 256
                return b
            case "add" | "adds" | "subs":
                assert not immediate or (0 <= b < 256 and len(values) == 1)
                return a - b if name == "subs" else a + b
            case "rsbs":
                return -a
            case "muls":
                return a * b
            case "lsls" | "asrs":
                assert 0 < b < 32
                return a << b if name == "lsls" else a >> b
            case "sxtb":
                return (b + 128) % 256 - 128
            case "ldrb":
                assert 0 <= b < 32
                return int(self.weights[a + b]) % 256
            case "ldr":
                assert b % 4 == 0
                assert b <= 124
                assert (a + b + self.shift) % 4 == 0
                return int.from_bytes(self.weights[a + b : a + b + 4].tobytes(), "little", signed=True)
        raise AssertionError(name)

    def _load_inputs(self, rest: str) -> None:
        found = re.fullmatch(rf"{DATA}!, {{(\w+), (\w+)}}", rest)
        assert found
        for register in found.groups():
            self.registers[register] = int(self.inputs[self.registers[DATA] // 4])
            self.registers[DATA] += 4


@pytest.mark.parametrize("aligned", [True, False])
@given(data=st.data())
def test_adds_every_product(aligned: bool, data: st.DataObject) -> None:
    pixels = data.draw(st.integers(1, len(SUMS)))
    pitch = data.draw(st.sampled_from([4, 12, 64, 68, 128, 132, 500]))
    size = 4 if aligned else data.draw(st.integers(1, 4))
    vectors = data.draw(st.integers(1, _VECTORS))
    products = [
        Product(p, vector * size, 4 * (pitch * p + 4 * vector)) for vector in range(vectors) for p in range(pixels)
    ]
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    weights = random.integers(-128, 128, 4 * _VECTORS + 4, np.int8)
    inputs = random.integers(-128, 128, _INPUTS, np.int32)

    core = Core(weights, inputs, 0 if aligned else 1)
    for line in assembly(products, aligned):
        core.run(line)

    expected = [0] * len(SUMS)
    for p in products:
        factors = weights[p.weights : p.weights + 4].astype(int), inputs[p.data // 4 : p.data // 4 + 4]
        expected[p.sum] += int(np.dot(*factors))
    assert [core.registers[register] for register in SUMS] == expected

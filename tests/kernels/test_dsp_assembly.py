"""Assembly of the DSP extension, run by a small interpreter: the right sums, with operands that there are."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtmm_mlir.passes.kernels.dsp_assembly import DATA, SUMS, WEIGHTS, assembly, changed, held
from dtmm_mlir.passes.kernels.products import Product

_KEPT = "r7"
"""The compiler's."""


class Core:
    """Runs instructions on some weights and i16 inputs; addresses count from the first byte of each."""

    def __init__(self, weights: np.ndarray, inputs: np.ndarray, sums: int) -> None:
        self.memory = {WEIGHTS: weights.tobytes(), DATA: inputs.tobytes()}
        self.writable = {*changed(sums), *SUMS[:sums], WEIGHTS, DATA}
        self.registers = {WEIGHTS: 0, DATA: 0, _KEPT: 12345} | dict.fromkeys(SUMS[:sums], 0)
        self.stack = list[int]()

    def run(self, line: str) -> None:
        name, rest = line.split(" ", 1)
        operands = [part for part in re.split(r"[,\s\[\]{}#]+", rest) if part]
        match name, operands:
            case "push", [register]:
                self.stack.append(self.registers[register])
                self.writable.add(register)
            case "pop", [register]:
                self.registers[register] = self.stack.pop()
                self.writable.remove(register)
            case "ldrd", [first, second, address, *step]:
                assert first != second
                assert self.registers[address] % 4 == 0
                self._set(first, self._word(address, 0))
                self._set(second, self._word(address, 4))
                self._step(address, step, 1020, multiple=4)
            case "ldr.w", [register, address, *step] if "], #" in line:
                self._set(register, self._word(address, 0))
                self._step(address, step, 255)
            case "ldr.w", [register, address, *offset]:
                self._set(register, self._word(address, *map(int, offset)))
            case "sxtb16", [register, source, *rotation]:
                value, by = self.registers[source] % 2**32, int(rotation[1]) if rotation else 0
                value = (value >> by | value << (32 - by)) % 2**32
                self._set(register, _word(_signed(value, 8) % 2**16 | _signed(value >> 16, 8) % 2**16 << 16))
            case "smlad", [register, a, b, total]:
                x, y = self.registers[a], self.registers[b]
                products = sum(_signed(x >> half, 16) * _signed(y >> half, 16) for half in (0, 16))
                self._set(register, self.registers[total] + products)
            case "addw" | "subw" | "add.w" | "sub.w", [register, source, step]:
                assert int(step) < 4096 or (name[3] == "." and int(step) % 4096 == 0)
                self._set(register, self.registers[source] + int(step) * (1 if name.startswith("add") else -1))
            case _:
                raise AssertionError(line)

    def _set(self, register: str, value: int) -> None:
        assert register in self.writable
        self.registers[register] = value

    def _step(self, address: str, step: list[str], reach: int, multiple: int = 1) -> None:
        if step:
            assert abs(int(step[0])) <= reach
            assert int(step[0]) % multiple == 0
            self._set(address, self.registers[address] + int(step[0]))

    def _word(self, address: str, offset: int = 0) -> int:
        at = self.registers[address] + offset
        assert 0 <= at <= len(self.memory[address]) - 4
        return int.from_bytes(self.memory[address][at : at + 4], "little", signed=True)


def _signed(value: int, bits: int) -> int:
    return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def _word(value: int) -> int:
    return _signed(value, 32)


@given(data=st.data())
def test_adds_every_product(data: st.DataObject) -> None:
    filters = data.draw(st.integers(1, len(SUMS)))
    pixels = data.draw(st.integers(1, len(SUMS) // filters))
    width, vectors = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    pixel, step = data.draw(st.sampled_from([2, 8, 10, 40, 1200, 20_000])), data.draw(st.integers(1, 2))
    products = [
        Product(b * pixels + p, 4 * ((v * width + k) * filters + b), 8 * v + (p * step + k) * pixel)
        for v in range(vectors)
        for k in range(width)
        for b in range(filters)
        for p in range(pixels)
    ]
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    weights = random.integers(-128, 128, max(p.weights for p in products) + 4, np.int8)
    inputs = random.integers(-255, 256, max(p.data for p in products) // 2 + 4, np.int16)
    length = data.draw(st.sampled_from([len(weights), 5000]))
    core = Core(weights, inputs, filters * pixels)
    aligned = pixel % 4 == 0

    for line in assembly(products, filters * pixels, 4 if aligned else 2, length):
        core.run(line)

    expected = [0] * filters * pixels
    for p in products:
        order = weights[p.weights : p.weights + 4][[0, 2, 1, 3]].astype(int)  # as they are stored
        expected[p.sum] += int(np.dot(order, inputs[p.data // 2 : p.data // 2 + 4]))
    assert [core.registers[register] for register in SUMS[: filters * pixels]] == expected
    assert core.registers[WEIGHTS] == length
    assert core.registers[_KEPT] == 12345


@pytest.mark.parametrize(("filters", "pixels"), [(1, 8), (2, 4), (2, 2), (3, 2), (1, 1)])
def test_loads_share_what_registers_hold(filters: int, pixels: int) -> None:
    products = [Product(pixels * b + p, 4 * b, 16 * p) for b in range(filters) for p in range(pixels)]
    names = [line.split()[0] for line in assembly(products, filters * pixels, 4, 4 * filters)]
    assert names.count("smlad") == 2 * filters * pixels
    assert names.count("ldr.w") == filters
    assert names.count("ldrd") == pixels * -(-filters // held(filters * pixels))
    assert set(names) == {"push", "pop", "ldr.w", "ldrd", "sxtb16", "smlad"}

"""Assembly of cores without vectors, run by a small interpreter: the right sums, with operands that there are."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtmm_mlir.passes.kernels.products import Product
from dtmm_mlir.passes.kernels.scalar_assembly import RISCV, THUMB2, Core, assembly

CORES = pytest.mark.parametrize("core", [RISCV, THUMB2], ids=["riscv", "thumb2"])
_SIZE = 12_000


class Machine:
    """Runs instructions on some weights and inputs; addresses count from the first of each."""

    def __init__(self, core: Core, weights: np.ndarray, inputs: np.ndarray) -> None:
        self.core = core
        self.memory = {core.weights: weights, core.data: inputs}
        self.registers = {core.weights: 0, core.data: 0} | dict.fromkeys(core.sums, 0)

    def run(self, line: str) -> None:
        name, target, *operands = (part for part in re.split(r"[,\s()\[\]#]+", line) if part)
        assert target in (*self.core.changed, *self.core.sums, self.core.weights, self.core.data)
        self.registers[target] = self._result(name, target, operands)

    def _result(self, name: str, target: str, operands: list[str]) -> int:
        value = [self.registers.get(o, o) for o in operands]
        match name:
            case "lb":
                assert -2048 <= int(value[0]) < 2048
                return int(self.memory[operands[1]][value[1] + int(value[0])])
            case "ldrsb.w":
                assert 0 <= int(value[1]) < 4096
                return int(self.memory[operands[0]][value[0] + int(value[1])])
            case "li":
                return int(value[0])
            case "movw":
                return int(value[1]) & 0xFFFF
            case "movt":
                word = self.registers[target] & 0xFFFF | (int(value[1]) >> 16 & 0xFFFF) << 16
                return (word + 2**31) % 2**32 - 2**31
            case "addi" | "addw":
                assert -2048 <= int(value[1]) < 2048 if name == "addi" else 0 <= int(value[1]) < 4096
                return value[0] + int(value[1])
            case "add" | "add.w":
                return value[0] + value[1]
            case "mul":
                return value[0] * value[1]
            case "mla":
                return value[0] * value[1] + value[2]
        raise AssertionError(name)


@CORES
@given(data=st.data())
def test_adds_every_product(core: Core, data: st.DataObject) -> None:
    filters = data.draw(st.integers(1, 5))
    pixels = data.draw(st.integers(1, len(core.sums) // filters))
    width, vectors = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    pixel, step = data.draw(st.sampled_from([1, 4, 20, 300, 2048])), data.draw(st.integers(1, 2))
    products = [
        Product(b * pixels + p, 4 * ((v * width + k) * filters + b), 4 * v + (p * step + k) * pixel)
        for v in range(vectors)
        for k in range(width)
        for b in range(filters)
        for p in range(pixels)
    ]
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    largest = max(p.data for p in products) + 4
    weights, inputs = random.integers(-128, 128, _SIZE, np.int8), random.integers(-128, 128, largest, np.int8)
    length = data.draw(st.sampled_from([4 * vectors * width * filters, 5000]))

    machine = Machine(core, weights, inputs)
    for line in assembly(core, products, length):
        machine.run(line)

    expected = [0] * len(core.sums)
    for p in products:
        factors = weights[p.weights : p.weights + 4].astype(int), inputs[p.data : p.data + 4]
        expected[p.sum] += int(np.dot(*factors))
    assert [machine.registers[register] for register in core.sums] == expected
    assert machine.registers[core.weights] == length


@pytest.mark.parametrize(
    ("core", "filters", "pixels", "loads", "others"),
    [(RISCV, 4, 4, 8, {"mul": 64, "add": 64, "addi": 1}), (THUMB2, 2, 4, 6, {"mla": 32, "addw": 1})],
)
def test_a_block_loads_each_operand_once(
    core: Core, filters: int, pixels: int, loads: int, others: dict[str, int]
) -> None:
    products = [Product(pixels * b + p, 4 * b, 64 * p) for b in range(filters) for p in range(pixels)]
    names = [line.split()[0] for line in assembly(core, products, 4 * filters)]
    counts = {name: names.count(name) for name in set(names)}
    assert counts == {core.load.split()[0]: 4 * loads, **others}


def test_a_wide_run_of_one_filter_shares_its_inputs() -> None:
    products = [Product(p, 4 * k, 16 * (p + k)) for k in range(3) for p in range(8)]
    names = [line.split()[0] for line in assembly(RISCV, products, 12)]
    assert names.count("lb") == 4 * (3 + 10)

"""RISC-V assembly, run by a small interpreter: the right sums, with operands that its instructions can have."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dtmm_mlir.passes.kernels.products import Product
from dtmm_mlir.passes.kernels.riscv_assembly import CHANGED, DATA, SUMS, WEIGHTS, assembly

_SIZE = 12_000


class Core:
    """Runs instructions on some weights and inputs; addresses count from the first of each."""

    def __init__(self, weights: np.ndarray, inputs: np.ndarray) -> None:
        self.memory = {WEIGHTS: weights, DATA: inputs}
        self.registers = {WEIGHTS: 0, DATA: 0} | dict.fromkeys(SUMS, 0)

    def run(self, line: str) -> None:
        name, target, *operands = re.split(r"[,\s()]+", line.removesuffix(")"))
        assert target in (*CHANGED, *SUMS, WEIGHTS, DATA)
        if name == "lb":
            offset, address = int(operands[0]), operands[1]
            assert -2048 <= offset < 2048
            self.registers[target] = int(self.memory[address][self.registers[address] + offset])
        elif name == "li":
            self.registers[target] = int(operands[0])
        elif name == "addi":
            assert -2048 <= int(operands[1]) < 2048
            self.registers[target] = self.registers[operands[0]] + int(operands[1])
        else:
            a, b = (self.registers[operand] for operand in operands)
            self.registers[target] = {"mul": a * b, "add": a + b}[name]


@given(data=st.data())
def test_adds_every_product(data: st.DataObject) -> None:
    filters = data.draw(st.integers(1, 5))
    pixels = data.draw(st.integers(1, len(SUMS) // filters))
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

    core = Core(weights, inputs)
    for line in assembly(products, length):
        core.run(line)

    expected = [0] * len(SUMS)
    for p in products:
        factors = weights[p.weights : p.weights + 4].astype(int), inputs[p.data : p.data + 4]
        expected[p.sum] += int(np.dot(*factors))
    assert [core.registers[register] for register in SUMS] == expected
    assert core.registers[WEIGHTS] == length


def test_a_block_loads_each_operand_once() -> None:
    """Four filters and four pixels: eight loads for sixteen products of each lane."""
    products = [Product(4 * b + p, 4 * b, 64 * p) for b in range(4) for p in range(4)]
    names = [line.split()[0] for line in assembly(products, 16)]
    assert [names.count(name) for name in ("lb", "mul", "add", "addi")] == [32, 64, 64, 1]


def test_a_wide_run_of_one_filter_shares_its_inputs() -> None:
    products = [Product(p, 4 * k, 16 * (p + k)) for k in range(3) for p in range(8)]
    names = [line.split()[0] for line in assembly(products, 12)]
    assert names.count("lb") == 4 * (3 + 10)

"""Sizes of the threaded code of the input stationary kernel, which jumps in it rely on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.kernels.mve_input_stationary import Passes, hold
from dtmm_mlir.passes.kernels.stationary_schedule import Schedule
from tests.kernels.convolutions import geometry

needs_assembler = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs the cross compiler")


def passes(pixels: int, channels: int, joined: int, unrolled: int, skip_padding: int = 0, run_width: int = 1) -> Passes:
    plan = Plan("input_stationary", pixels, 1, run_width, 2, joined, 0, unrolled, skip_padding)
    return Schedule(geometry(8, 8, channels, 8), plan).passes


@needs_assembler
@pytest.mark.parametrize(
    "plan",
    [
        (8, 16, 0, 8),
        (8, 40, 0, 4),
        (7, 40, 8, 2),
        (8, 39, 39, 8),
        (5, 200, 8, 16),
        (1, 3, 3, 2),
        (8, 40, 8, 4, 2),
        (8, 40, 0, 4, 2, 3),
        (5, 40, 8, 2, 0, 3),
    ],
)
def test_code_is_as_long_as_jumps_expect(tmp_path: Path, plan: tuple[int, ...]) -> None:
    code = passes(*plan)
    lines = code.assembly()
    source, image = tmp_path / "passes.s", tmp_path / "passes.o"
    source.write_text("\n".join([".syntax unified", ".thumb", *lines, ""]))
    subprocess.run(["arm-none-eabi-gcc", "-c", "-mcpu=cortex-m55", "-mthumb", source, "-o", image], check=True)
    sizes = subprocess.run(["arm-none-eabi-size", image], check=True, stdout=subprocess.PIPE, text=True).stdout
    before = lines.index("add pc, r11")  # what begins, with a pop in the end in place of this jump of two bytes
    assert int(sizes.splitlines()[1].split()[0]) == 4 * (before + 1) + 2 + code.bytes


@pytest.mark.parametrize("unrolled", [2, 8])
@pytest.mark.parametrize("filters", [1, 2, 7, 8, 9, 30])
def test_a_pass_enters_where_its_filters_fit(unrolled: int, filters: int) -> None:
    (chain,) = passes(8, 16, 0, unrolled).chains
    body, odd = 12, filters % 2
    rounds, pairs = -(-filters // unrolled), ((filters - 1) % unrolled + 1) // 2
    if odd:
        assert chain.entry(filters) == (unrolled // 2 - pairs - 1) * chain.stub_bytes
    else:
        assert chain.behind_round - chain.entry(filters) == pairs * chain.pair_bytes + 6
    assert chain.instructions(filters) - len(chain.loads.lines) - 2 * rounds == (
        filters * body + filters // 2 + (3 if odd else 0)
    )
    assert chain.entry(0) == chain.behind_round


def test_columns_on_both_sides_take_the_same_code() -> None:
    """Of 8 columns, 7 are inside the input at the outer kernel columns, whose inputs all stay in registers."""
    eight, seven = passes(8, 16, 0, 4, skip_padding=2).chains
    assert (eight.pixels, seven.pixels) == (8, 7)
    assert len(eight.pair[0]) - len(seven.pair[0]) == 2


def test_inputs_stay_in_registers_from_column_to_column() -> None:
    """Of each row 8 columns of the input, the last two of which share a register where all are read."""
    first, middle, last = (chain.loads for chain in passes(8, 16, 0, 4, skip_padding=2, run_width=3).chains)
    assert (first.loaded, middle.loaded, last.loaded) == ((0, 1, 2, 3, 4, 5, 6), (6,), (6,))
    assert [set(loads.registers) for loads in (first, middle, last)] == [set(range(7))] * 3
    assert last.registers[:5] == first.registers[1:6]


def test_columns_in_turn_hold_what_they_read() -> None:
    """Registers followed from pass to pass, as the code leaves them."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        count = int(generator.integers(1, 9))
        turn = [generator.choice(10, count, replace=False).tolist() for _ in range(4)]
        held = dict[int, int]()
        for inputs, (registers, loaded) in zip(turn, hold(turn), strict=True):
            held |= {registers[pixel]: inputs[pixel] for pixel in loaded}
            own = min(count, 7)
            assert [held[register] for register in registers[:own]] == inputs[:own]
            assert len(set(registers[:own])) == own

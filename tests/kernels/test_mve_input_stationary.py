"""Sizes of the threaded code of the input stationary kernel, which jumps in it rely on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.kernels.mve_input_stationary import Passes
from dtmm_mlir.passes.kernels.stationary_schedule import Schedule
from tests.kernels.convolutions import geometry

needs_assembler = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs the cross compiler")


def passes(pixels: int, channels: int, joined: int, unrolled: int, skip_padding: int = 0) -> Passes:
    plan = Plan("input_stationary", pixels, 1, 1, 2, joined, 0, unrolled, skip_padding)
    return Schedule(geometry(8, 8, channels, 8), plan).passes


@needs_assembler
@pytest.mark.parametrize(
    "plan",
    [(8, 16, 0, 8), (8, 40, 0, 4), (7, 40, 8, 2), (8, 39, 39, 8), (5, 200, 8, 16), (1, 3, 3, 2), (8, 40, 8, 4, 2)],
)
def test_code_is_as_long_as_jumps_expect(tmp_path: Path, plan: tuple[int, ...]) -> None:
    code = passes(*plan)
    lines = code.assembly()
    source, image = tmp_path / "passes.s", tmp_path / "passes.o"
    source.write_text("\n".join([".syntax unified", ".thumb", *lines, ""]))
    subprocess.run(["arm-none-eabi-gcc", "-c", "-mcpu=cortex-m55", "-mthumb", source, "-o", image], check=True)
    sizes = subprocess.run(["arm-none-eabi-size", image], check=True, stdout=subprocess.PIPE, text=True).stdout
    first = next(i for i, line in enumerate(lines) if line.startswith("ldm.w r9!"))
    before = sum(not line.endswith(":") for line in lines[:first])
    assert int(sizes.splitlines()[1].split()[0]) == 4 * (before + 1) - 2 + code.bytes


@pytest.mark.parametrize("unrolled", [2, 8])
@pytest.mark.parametrize("filters", [1, 2, 7, 8, 9, 30])
def test_a_pass_enters_where_its_filters_fit(unrolled: int, filters: int) -> None:
    (chain,) = passes(8, 16, 0, unrolled).chains
    skipped = -filters % unrolled
    body, pair = 12, chain.pair_bytes
    rounds = -(-filters // unrolled)
    expected = chain.behind_loads + skipped // 2 * pair if skipped % 2 == 0 else None
    assert expected in (None, chain.entry(skipped))
    assert chain.instructions(filters) - len(chain.loads) - 1 - 2 * rounds == (
        filters * body + filters // 2 + (3 if filters % 2 else 0)
    )


def test_columns_on_both_sides_take_the_same_code() -> None:
    """Of 8 columns, 7 are inside the input at the outer kernel columns, whose inputs all stay in registers."""
    eight, seven = passes(8, 16, 0, 4, skip_padding=2).chains
    assert (eight.pixels, seven.pixels) == (8, 7)
    assert len(eight.pair[0]) - len(seven.pair[0]) == 2

"""Which constants are stored pixel by pixel, and where their vectors lie."""

from __future__ import annotations

import itertools

import pytest

from dtmm_mlir.passes.kernels.constants import Pattern
from dtmm_mlir.passes.kernels.isa import Isa
from dtmm_mlir.passes.kernels.mve import Mve
from dtmm_mlir.passes.kernels.thumb2 import Thumb2


@pytest.mark.parametrize("isa", [Mve(), Thumb2(), Isa(64)])
@pytest.mark.parametrize("results", [1, 3, 4, 5, 8, 12, 16, 17, 31, 64, 100])
def test_vectors_cover_a_pixel_and_no_more(results: int, isa: Isa) -> None:
    pattern = Pattern.of(results, isa)
    starts = list(itertools.chain(*pattern.pieces()))
    assert len(starts) == pattern.vectors
    assert {start + lane for start in starts for lane in range(pattern.lanes)} == set(range(results))


@pytest.mark.parametrize(("results", "lanes"), [(64, 4), (62, 1), (4, 4), (3, 1)])
def test_words_are_stored_where_all_pixels_begin_at_one(results: int, lanes: int) -> None:
    assert Pattern.of(results, Thumb2()).lanes == lanes


@pytest.mark.parametrize(("constants", "serves"), [(7, False), (8, True), (64, True)])
def test_few_constants_are_stored_one_by_one(constants: int, serves: bool) -> None:
    assert Pattern.of(64, Mve()).serves(constants) == serves

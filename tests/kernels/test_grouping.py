"""Which filters are computed together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtmm_mlir.passes.kernels.grouping import Grouping


def masks_of(*rows: str) -> np.ndarray:
    """[F, 2, 2] bool."""
    return np.array([[int(bit) for bit in row] for row in rows], bool).reshape(-1, 2, 2)


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 1 << 31), st.floats(0, 1))
def test_every_filter_is_in_one_block(filters: int, members: int, seed: int, share: float) -> None:
    members = min(filters, members)
    kept = np.random.default_rng(seed).random((filters, 3, 3)) < share
    grouping = Grouping.of(kept, members)

    own = np.ones(grouping.filters.shape, bool)
    own[0, : grouping.others] = False
    assert sorted(grouping.filters[own]) == list(range(filters))
    assert (grouping.kept[own] == kept[grouping.filters[own]]).all()
    assert not grouping.kept[~own].any()
    assert all(len(set(block)) == members for block in grouping.filters.tolist())
    assert (grouping.union == grouping.kept.any(axis=1)).all()


@given(st.integers(3, 12), st.integers(0, 1 << 31))
def test_filters_that_are_not_a_blocks_own_are_computed_later(filters: int, seed: int) -> None:
    kept = np.random.default_rng(seed).random((filters, 3, 3)) < 0.5
    grouping = Grouping.of(kept, 3)
    others = grouping.filters[0, : grouping.others]
    assert grouping.others == -filters % 3
    assert set(others) <= set(grouping.filters[1:].reshape(-1))
    every = np.arange(len(grouping.filters))
    assert grouping.computed(every).tolist() == list(range(filters))
    assert not set(grouping.computed(every[:1])) & set(others)


def test_filters_of_most_common_positions_are_together() -> None:
    grouping = Grouping.of(masks_of("1100", "0011", "0000", "1100", "0000", "0111", "1111"), 2)
    assert grouping.filters.tolist() == [[0, 4], [5, 6], [0, 3], [1, 2]]


@pytest.mark.parametrize(
    ("masks", "blocks"),
    [
        (("1100", "0010", "0000", "0001"), [[0, 1], [2, 3]]),
        (("1110", "1101", "1100", "0001"), [[0, 2], [1, 3]]),
    ],
    ids=["any before none", "few before many"],
)
def test_of_as_many_common_positions(masks: tuple[str, ...], blocks: list[list[int]]) -> None:
    assert Grouping.of(masks_of(*masks), 2).filters.tolist() == blocks


def test_four_filters_of_the_same_positions_are_a_block() -> None:
    grouping = Grouping.of(masks_of("1100", "0011", "1100", "0011", "1100", "0011", "1100", "0011"), 4)
    assert grouping.filters.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert grouping.union.sum() == 4


@given(st.integers(0, 1 << 31), st.floats(0, 1))
def test_no_other_pairs_have_fewer_positions(seed: int, share: float) -> None:
    kept = np.random.default_rng(seed).random((4, 3, 3)) < share
    of_pairs = [
        sum(int(kept[list(pair)].any(axis=0).sum()) for pair in pairs)
        for pairs in (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
    ]
    assert Grouping.of(kept, 2).union.sum() == min(of_pairs)


def test_blocks_of_own_filters_are_apart() -> None:
    kept = masks_of("1100", "0011", "0001", "1000", "1111")
    (alone, first), (pairs, rest) = Grouping.of(kept, 2).own
    assert alone.shape == (1, 1)
    assert first.tolist() == kept[alone[0]].tolist()
    assert sorted([*alone.reshape(-1), *pairs.reshape(-1)]) == list(range(5))
    assert rest.tolist() == kept[pairs].any(axis=1).tolist()
    assert [filters.shape for filters, _ in Grouping.of(kept, 5).own] == [(1, 5)]

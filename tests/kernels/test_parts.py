"""Which filters the ``pairs`` kernel computes together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtmm_mlir.dialect.plan import Kernel, Plan
from dtmm_mlir.passes.kernels.parts import Parts


@pytest.mark.parametrize("kernel", ["pairs", "mixed"])
@pytest.mark.parametrize("by_rows", [0, 1])
@given(st.integers(2, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1 << 31), st.floats(0, 1))
def test_every_filterlet_is_walked_once(
    kernel: Kernel, by_rows: int, filters: int, height: int, width: int, seed: int, share: float
) -> None:
    kept = np.random.default_rng(seed).random((filters, height, width)) < share
    parts = Parts.of(kept, Plan(kernel, 4, 1, width, 4, skip_padding=by_rows))

    walked = np.zeros((filters, height * width), int)
    for members, groups in zip(parts.filters, parts.begins, strict=True):
        for begins in groups:
            for run, places in zip(parts.runs, begins, strict=True):
                for place in np.flatnonzero(places):
                    walked[np.ix_(members[list(run.members)], range(place, place + run.width))] += 1

    assert (walked == kept.reshape(filters, -1)).all()
    assert parts.computed(np.arange(len(parts.filters))).tolist() == list(range(filters))


def test_filters_of_most_common_positions_are_together() -> None:
    masks = ["1100", "0011", "0000", "1100", "0000", "0111", "1111"]
    kept = np.array([[int(bit) for bit in mask] for mask in masks], bool).reshape(7, 2, 2)
    parts = Parts.of(kept, Plan("pairs", 4, 1, 1, 4))
    assert parts.filters.tolist() == [[3, 4], [0, 3], [1, 2], [5, 6]]
    assert not parts.kept[0].any()

"""Which runs the ``pairs`` and ``mixed`` kernels walk."""

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
    for members, groups in zip(parts.blocks.filters, parts.begins, strict=True):
        for begins in groups:
            for run, places in zip(parts.runs, begins, strict=True):
                for place in np.flatnonzero(places):
                    walked[np.ix_(members[list(run.members)], range(place, place + run.width))] += 1

    assert (walked == kept.reshape(filters, -1)).all()

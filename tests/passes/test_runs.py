"""Properties of runs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dtmm_mlir.passes.runs import cover

MASKS = arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 7)))


@given(MASKS, st.data())
def test_runs_cover_exactly_the_kept_rows(kept: np.ndarray, data: st.DataObject) -> None:
    width = data.draw(st.integers(1, kept.shape[2]))
    runs = cover(kept, width)
    covered = np.zeros_like(kept)
    for f, ky, kx in runs:
        assert kx + width <= kept.shape[2]
        covered[f, ky, kx : kx + width] = True
    assert covered[kept].all()
    assert runs.tolist() == sorted(runs.tolist())
    assert len(runs) <= kept.sum()
    if width == 1:
        assert (covered == kept).all()

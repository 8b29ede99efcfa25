"""What a convolution's geometry tells about padding."""

from __future__ import annotations

import pytest

from tests.kernels.convolutions import geometry


@pytest.mark.parametrize(
    ("height", "kernel", "changes", "zones"),
    [
        (8, 3, {}, [(0, range(1, 3)), (1, range(3)), (7, range(2))]),
        (8, 3, {"strides": (2, 2), "pads": (0, 1, 0, 1)}, [(0, range(3)), (3, range(2))]),
        (4, 3, {"dilations": (2, 1), "pads": (2, 2, 1, 1)}, [(0, range(1, 3)), (2, range(2))]),
        (1, 3, {}, [(0, range(1, 2))]),
        (2, 3, {"pads": (2, 2, 1, 1)}, [(0, range(2, 3)), (1, range(1, 3)), (2, range(2)), (3, range(1))]),
        (1, 1, {"pads": (1, 1, 0, 0)}, [(0, range(0)), (1, range(1)), (2, range(0))]),
        (6, 1, {}, [(0, range(1))]),
    ],
)  # fmt: skip
def test_zones_of_output_rows(
    height: int, kernel: int, changes: dict[str, tuple[int, ...]], zones: list[tuple[int, range]]
) -> None:
    found = geometry(height, 4, 3, 5, kernel, **changes).row_zones
    assert [(first, list(rows)) for first, rows in found] == [(first, list(rows)) for first, rows in zones]

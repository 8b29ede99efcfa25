"""The convolutions that every target is tried on."""

from __future__ import annotations

from dataclasses import replace

from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.passes.kernels.select import isa_of
from dtmm_mlir.targets import HOST
from tests.kernels.convolutions import Case, geometry

_CHANNELS = (1, 2, 3, 5, 8, 15, 16, 17, 20, 28, 31, 32, 33, 48, 63, 64, 70)


def _stationary(
    pixels: int,
    rows: int,
    pixel_rows: int = 1,
    joined: int = 0,
    unrolled: int = 4,
    skip_padding: int = 0,
    width: int = 1,
) -> Plan:
    return Plan("input_stationary", pixels, 1, width, rows, joined, 0, unrolled, skip_padding, pixel_rows)


_INPUT_STATIONARY = [
    Case(geometry(7, 9, 16, 5), 0.5, seed=1, plan=_stationary(4, 3)),
    Case(geometry(8, 8, 32, 32), 0.25, seed=2, plan=_stationary(8, 3)),
    Case(geometry(8, 8, 64, 33), 0.25, seed=3, plan=_stationary(7, 1)),
    Case(geometry(8, 8, 24, 7), 0.5, rescale="single", seed=4, plan=_stationary(6, 8)),
    Case(geometry(8, 9, 96, 7), 0.5, seed=5, plan=_stationary(8, 2)),
    Case(geometry(8, 9, 100, 7), 0.5, seed=6, plan=_stationary(5, 2)),
    Case(geometry(9, 9, 48, 7, strides=(2, 2)), 0.5, seed=7, plan=_stationary(1, 2)),
    Case(geometry(9, 17, 41, 6, strides=(1, 2), dilations=(2, 1)), 0.5, seed=8, plan=_stationary(8, 2)),
    Case(geometry(6, 6, 16, 8, 1), 0.7, rescale="none", seed=9, plan=_stationary(2, 2)),
    Case(geometry(6, 6, 16, 8, 1), 0.7, rescale="wide", seed=10, plan=_stationary(3, 2)),
    Case(geometry(6, 6, 5, 8), 0.7, clamp=True, seed=11, plan=_stationary(5, 2)),
    Case(geometry(6, 6, 16, 3), 0.0, seed=12, plan=_stationary(5, 2)),
    Case(geometry(6, 6, 16, 3), rescale="extreme-double", seed=13, plan=_stationary(5, 2)),
    Case(geometry(1, 3, 16, 1, 1, n=3), seed=14, plan=_stationary(8, 2)),
    Case(geometry(4, 4, 64, 9), 0.5, seed=16, plan=_stationary(4, 2, 2)),
    Case(geometry(6, 3, 80, 9), 0.5, seed=17, plan=_stationary(3, 4, 2)),
    Case(geometry(12, 4, 32, 9, 1, n=2, strides=(2, 2)), 0.8, seed=18, plan=_stationary(2, 3, 3)),
    Case(geometry(2, 2, 300, 9), 0.5, seed=19, plan=_stationary(2, 2, 2)),
    Case(geometry(7, 1, 16, 9), 0.5, seed=20, plan=_stationary(1, 7, 7)),
    Case(geometry(3, 180, 192, 2), 0.5, seed=15, plan=_stationary(7, 1)),  # offsets beyond 16 bits
    Case(geometry(9, 8, 31, 13, 1), 0.3, seed=21, plan=_stationary(8, 1)),
    Case(geometry(9, 8, 31, 13, 1, strides=(2, 2)), 0.3, seed=22, plan=_stationary(4, 2)),
    Case(geometry(9, 8, 33, 20, 1, strides=(2, 2)), 0.5, rescale="none", seed=23, plan=_stationary(4, 1)),
    Case(geometry(9, 8, 20, 33), 0.8, rescale="single", seed=24, plan=_stationary(8, 1, joined=4, unrolled=8)),
    Case(geometry(9, 8, 37, 20), 0.5, seed=25, plan=_stationary(7, 2, joined=5, unrolled=2)),
    Case(geometry(9, 8, 10, 20), 0.6, seed=26, plan=_stationary(8, 2, joined=10, unrolled=16)),
    Case(geometry(9, 8, 90, 12), 0.5, seed=27, plan=_stationary(8, 1, joined=10)),
    Case(geometry(9, 8, 37, 20, strides=(2, 2)), 0.5, seed=28, plan=_stationary(3, 2, joined=5)),
    Case(geometry(9, 8, 20, 9), 0.5, seed=29, plan=_stationary(8, 3, skip_padding=1)),
    Case(geometry(8, 8, 37, 9), 0.5, seed=30, plan=_stationary(7, 2, joined=5, skip_padding=1)),
    Case(geometry(6, 7, 10, 9, n=2), 0.5, seed=31, plan=_stationary(7, 6, joined=10, skip_padding=1)),
    Case(geometry(4, 4, 51, 12), 0.3, seed=32, plan=_stationary(4, 2, 2, skip_padding=1)),
    Case(geometry(4, 4, 38, 12, n=2), 0.6, seed=33, plan=_stationary(4, 4, 2, joined=6, skip_padding=1)),
    Case(geometry(1, 3, 16, 5), 0.5, seed=34, plan=_stationary(3, 1, skip_padding=1)),
    Case(geometry(2, 4, 33, 5, 5), 0.4, seed=35, plan=_stationary(4, 2, 2, joined=1, skip_padding=1)),
    Case(
        geometry(7, 8, 16, 5, dilations=(3, 1), pads=(3, 3, 1, 1)), 0.6, seed=36, plan=_stationary(8, 2, skip_padding=1)
    ),
    Case(
        geometry(8, 8, 20, 5, strides=(2, 2), pads=(0, 1, 0, 1)), 0.6, seed=37, plan=_stationary(4, 2, skip_padding=1)
    ),
    Case(geometry(1, 4, 16, 5, pads=(3, 3, 1, 1)), 0.6, seed=40, plan=_stationary(4, 2, skip_padding=1)),
    Case(geometry(6, 6, 20, 5), 0.6, seed=38, zero_point=0, plan=_stationary(6, 2, skip_padding=1)),
    Case(geometry(4, 4, 20, 5), 0.6, rescale="wide", clamp=True, seed=39, plan=_stationary(4, 2, 2, skip_padding=1)),
    # Two rows of four pixels, side by side.
    Case(geometry(6, 12, 32, 9), 0.4, seed=41, plan=_stationary(4, 4, 2, skip_padding=1)),
    Case(geometry(4, 9, 70, 6), 0.5, zero_point=0, seed=42, plan=_stationary(4, 2, 2, joined=6, skip_padding=1)),
    Case(geometry(6, 10, 5, 20, 1, n=2), 0.3, seed=43, plan=_stationary(4, 6, 2, joined=5)),
    Case(geometry(8, 12, 48, 8, strides=(2, 2)), 0.5, rescale="wide", clamp=True, seed=44, plan=_stationary(4, 2, 2)),
    Case(geometry(6, 70, 192, 3), 0.5, rescale="single", seed=45, plan=_stationary(4, 2, 2)),
    # Pixels are skipped whose inputs lie beside the input.
    Case(geometry(8, 8, 32, 9), 0.4, zero_point=-128, seed=48, plan=_stationary(8, 2, skip_padding=2)),
    Case(geometry(4, 4, 51, 12), 0.3, zero_point=-128, seed=49, plan=_stationary(4, 2, 2, skip_padding=2)),
    Case(geometry(4, 4, 38, 11, n=2), 0.6, zero_point=-3, seed=50, plan=_stationary(4, 4, 2, joined=6, skip_padding=2)),
    Case(geometry(6, 7, 20, 9, 5), 0.4, seed=51, zero_point=0, plan=_stationary(7, 3, joined=4, skip_padding=2)),
    Case(geometry(4, 3, 33, 10, 5, n=2), 0.4, zero_point=-128, seed=52, plan=_stationary(3, 4, 2, skip_padding=2)),
    Case(
        geometry(6, 2, 16, 7),
        0.5,
        rescale="single",
        zero_point=-128,
        seed=53,
        plan=_stationary(2, 6, 3, skip_padding=2),
    ),
    Case(geometry(5, 1, 48, 6), 0.7, zero_point=-128, seed=54, plan=_stationary(1, 2, skip_padding=2)),
    Case(
        geometry(8, 8, 70, 9, strides=(2, 2)),
        0.5,
        zero_point=-128,
        seed=55,
        plan=_stationary(4, 2, 2, joined=6, skip_padding=2),
    ),
    Case(
        geometry(5, 6, 20, 5, dilations=(1, 3), pads=(1, 1, 3, 3)),
        0.6,
        zero_point=6,
        seed=56,
        plan=_stationary(6, 2, skip_padding=2),
    ),
    Case(
        geometry(6, 7, 32, 5, pads=(0, 0, 1, 0)),
        0.6,
        zero_point=-128,
        seed=57,
        plan=_stationary(6, 2, 1, skip_padding=2),
    ),
    Case(
        geometry(6, 5, 20, 8),
        0.5,
        rescale="wide",
        clamp=True,
        zero_point=-128,
        seed=58,
        plan=_stationary(5, 3, skip_padding=2),
    ),
    Case(geometry(4, 4, 20, 70), 0.02, clamp=True, zero_point=-128, seed=59, plan=_stationary(4, 2, 2, skip_padding=2)),
    # What the first passes are for was pruned: some, or all, kernel rows or columns.
    Case(
        geometry(4, 4, 16, 8),
        pruned=(1, 2, 4, 5, 7, 8),
        zero_point=-128,
        seed=60,
        plan=_stationary(4, 2, skip_padding=2),
    ),
    Case(geometry(4, 4, 16, 8), pruned=(3, 4, 5, 6, 7, 8), seed=61, plan=_stationary(4, 2, 2, skip_padding=1)),
    Case(
        geometry(4, 4, 40, 8),
        0.5,
        pruned=(1, 4, 7),
        zero_point=-128,
        seed=62,
        plan=_stationary(4, 2, 2, joined=8, skip_padding=2),
    ),
    Case(geometry(8, 8, 20, 8), 0.4, pruned=(0, 1, 2), seed=63, plan=_stationary(8, 2, joined=4, skip_padding=1)),
    Case(
        geometry(8, 8, 20, 8),
        pruned=(3, 4, 5, 6, 7, 8),
        zero_point=-128,
        seed=64,
        plan=_stationary(8, 2, joined=4, skip_padding=2),
    ),
    # Nothing but joined channels is read, of fewer rows above.
    Case(
        geometry(5, 2, 20, 8, (3, 4), pads=(1, 1, 0, 3)),
        pruned=(0, 1, 4, 5, 8, 9),
        zero_point=-128,
        seed=77,
        plan=_stationary(2, 3, joined=4, skip_padding=2),
    ),
    # Passes beside each other in a list have weights further apart than an i16 tells.
    Case(geometry(4, 4, 128, 100), 0.9, seed=65, plan=_stationary(4, 2, 2, skip_padding=1)),
    # Rows of the buffer are so short that moving them by vectors would read what is written already.
    Case(geometry(6, 3, 1, 6), seed=76, plan=_stationary(3, 1, joined=1)),
    # The last block has fewer output rows.
    Case(geometry(3, 3, 48, 9, n=2), 0.5, zero_point=-128, seed=66, plan=_stationary(3, 3, 2, skip_padding=2)),
    Case(geometry(5, 3, 20, 11), 0.5, rescale="wide", clamp=True, seed=67, plan=_stationary(3, 2, 2, joined=4)),
    Case(geometry(7, 4, 32, 9), 0.5, seed=68, plan=_stationary(4, 4, 2, skip_padding=1)),
    Case(geometry(5, 9, 70, 6), 0.5, zero_point=0, seed=69, plan=_stationary(4, 4, 2, joined=6, skip_padding=1)),
    Case(geometry(3, 3, 48, 30, 1, n=3), 0.5, rescale="single", seed=70, plan=_stationary(3, 3, 2)),
    Case(geometry(7, 1, 16, 9), 0.5, zero_point=-128, seed=71, plan=_stationary(1, 7, 5, skip_padding=2)),
    Case(geometry(9, 2, 16, 9, 5), 0.3, zero_point=-128, seed=72, plan=_stationary(2, 9, 4, skip_padding=2)),
    Case(geometry(3, 3, 16, 64), 0.02, seed=73, plan=_stationary(3, 3, 2)),
    Case(geometry(3, 3, 16, 70), 0.02, zero_point=-128, seed=74, plan=_stationary(3, 3, 2, skip_padding=2)),
    Case(geometry(5, 4, 16, 9), 0.05, clamp=True, seed=75, plan=_stationary(4, 5, 2, skip_padding=1)),
    Case(geometry(4, 4, 16, 9), 0.0, zero_point=-128, seed=87, plan=_stationary(4, 4, 2, skip_padding=2)),
    # Results of a ReLU, side by side or apart, of one filter at a time or two, of whole blocks or parts.
    *(
        Case(geometry(5, 4, 16, f), kept, rescale=rescale, seed=i, plan=plan, output_zero_point=-128)
        for i, (f, kept, rescale, plan) in enumerate(
            [
                (8, 0.8, "double", _stationary(4, 5, 2)),
                (9, 0.8, "double", _stationary(4, 5, 2)),
                (8, 0.8, "single", _stationary(3, 5)),
                (70, 0.05, "double", _stationary(4, 5, 2)),
                (1, 0.9, "double", _stationary(4, 5)),
            ],
            94,
        )
    ),
    # All that is read is padding, of filters with weights and without.
    *(
        Case(
            geometry(1, 1, 16, 4, 1, strides=(3, 3), pads=(1, 1, 1, 1)), kept, seed=i, plan=_stationary(1, 1, 1, **more)
        )
        for i, (kept, more) in enumerate(((0.8, {"skip_padding": 2}), (0.0, {"skip_padding": 2}), (0.0, {})), 91)
    ),
    *(
        Case(geometry(h, w, 20, 4, k, strides=(7, 7), pads=pads), 0.8, zero_point=-128, seed=i, plan=plan)
        for i, (h, w, k, pads, plan) in enumerate(
            [
                (1, 1, 1, (5, 0, 5, 0), _stationary(1, 1, skip_padding=2)),
                (1, 4, 1, (5, 0, 0, 0), _stationary(1, 1, skip_padding=1)),
                (4, 1, (3, 1), (1, 1, 5, 0), _stationary(1, 1, skip_padding=2)),
            ],
            99,
        )
    ),
    # All filterlets are stored, with the pruned ones as zeros.
    Case(
        geometry(4, 4, 51, 12),
        0.8,
        zero_point=-128,
        seed=76,
        plan=replace(_stationary(4, 2, 2, joined=3, skip_padding=2), dense=1),
    ),
    Case(geometry(8, 8, 32, 9), 0.5, zero_point=-128, seed=77, plan=replace(_stationary(8, 3), dense=1)),
    # Positions that all filters keep beside others.
    Case(geometry(4, 4, 32, 11), 0.95, zero_point=-128, seed=78, plan=_stationary(4, 4, 2, skip_padding=2)),
    Case(geometry(4, 4, 37, 9), 0.9, zero_point=-128, seed=79, plan=_stationary(4, 4, 2, joined=5, skip_padding=2)),
    Case(geometry(6, 8, 16, 10), 0.9, zero_point=-128, seed=80, plan=_stationary(8, 3, unrolled=8, skip_padding=2)),
    # Nothing of the padding is read, and rows are a buffer without it, of all rows or of some.
    Case(geometry(8, 8, 35, 9), 0.5, zero_point=-128, seed=81, plan=_stationary(8, 8, skip_padding=2)),
    Case(geometry(9, 9, 20, 6, strides=(2, 2)), 0.5, zero_point=-1, seed=82, plan=_stationary(5, 2, skip_padding=2)),
    Case(
        geometry(5, 3, 7, 6, (5, 3), n=2, pads=(4, 2, 2, 0)),
        0.7,
        zero_point=-128,
        seed=83,
        plan=_stationary(3, 7, skip_padding=2),
    ),
    # The same but for joined channels, beside which padding is read.
    Case(geometry(7, 8, 37, 6, n=2), 0.6, zero_point=-128, seed=88, plan=_stationary(8, 2, joined=5, skip_padding=2)),
    Case(geometry(4, 4, 51, 9), 0.7, zero_point=-128, seed=89, plan=_stationary(4, 4, 2, joined=3, skip_padding=2)),
    Case(
        geometry(9, 8, 21, 7, strides=(2, 2), pads=(0, 1, 0, 1)),
        0.6,
        zero_point=-128,
        seed=90,
        plan=_stationary(4, 5, joined=5, skip_padding=2),
    ),
    # One of the last rows of the input is not read.
    Case(
        geometry(8, 8, 20, 6, strides=(2, 2), pads=(1, 0, 1, 0)), 0.5, seed=84, plan=_stationary(4, 4, skip_padding=2)
    ),
    # Rows of another width than the input's.
    Case(geometry(5, 5, 48, 9, 1), 0.8, seed=85, plan=replace(_stationary(8, 1), row_width=25)),
    Case(geometry(5, 5, 20, 9, 1, n=2), 0.8, seed=86, plan=replace(_stationary(8, 3, joined=20), row_width=10)),
    # Most results are constants, of which some lie behind biases of several zones.
    Case(geometry(8, 8, 32, 64), 0.02, seed=46, plan=_stationary(8, 2, skip_padding=1)),
    Case(geometry(4, 8, 16, 70), 0.02, clamp=True, seed=47, plan=_stationary(4, 2, 2, skip_padding=1)),
]

SLIDING = [
    Case(geometry(5, 16, 48, 9), 0.4, seed=90, plan=_stationary(8, 2, skip_padding=1, width=3)),
    Case(geometry(5, 9, 64, 9), 0.4, seed=91, plan=_stationary(7, 5, unrolled=2, width=3)),
    Case(geometry(6, 12, 33, 9, 5), 0.4, seed=92, plan=_stationary(4, 2, 2, unrolled=16, width=5)),
    Case(
        geometry(8, 8, 40, 9), 0.4, zero_point=-128, seed=93, plan=_stationary(8, 2, joined=8, skip_padding=2, width=3)
    ),
    Case(geometry(4, 4, 51, 12), 0.5, zero_point=-128, seed=94, plan=_stationary(4, 4, 2, skip_padding=2, width=3)),
    Case(
        geometry(4, 2, 20, 12, 5, n=2), 0.5, zero_point=-128, seed=95, plan=_stationary(2, 2, skip_padding=2, width=5)
    ),
    Case(geometry(4, 1, 20, 12), 0.5, zero_point=-16, seed=96, plan=_stationary(1, 2, skip_padding=2, width=3)),
    Case(geometry(5, 17, 32, 8, 5, strides=(1, 2)), 0.5, seed=97, plan=_stationary(7, 2, width=5)),
    Case(geometry(5, 17, 32, 8, strides=(2, 3)), 0.5, seed=98, plan=_stationary(6, 1, width=3)),  # none are the same
    Case(
        geometry(5, 9, 32, 8, dilations=(1, 2), pads=(1, 1, 2, 2)),
        0.5,
        seed=99,
        plan=_stationary(5, 2, skip_padding=1, width=3),
    ),
    *(
        Case(
            geometry(4, 8, 32, 6),
            kept,
            zero_point=-128,
            seed=100,
            plan=_stationary(8, 2, skip_padding=skip, width=3),
            pruned=pruned,
        )
        for kept, skip, pruned in ((0.5, 2, (0, 3, 7)), (0.5, 1, (1, 2, 4, 5, 8)), (0.1, 0, ()), (1.0, 2, (3, 4, 5)))
    ),
    Case(geometry(4, 8, 20, 6), 0.0, seed=101, plan=_stationary(8, 2, joined=4, width=3)),
    Case(
        geometry(8, 8, 32, 9),
        0.9,
        zero_point=-128,
        seed=102,
        plan=replace(_stationary(8, 2, skip_padding=2, width=3), dense=1),
    ),
]
"""Of the ``input_stationary`` kernel, whose inputs stay in registers from kernel column to kernel column."""


def _lanes(pixels: int, filters: int, rows: int) -> Plan:
    return Plan("pixel_lanes", pixels, filters, 1, rows)


PIXEL_LANES = [
    Case(geometry(7, 7, 20, 6, 1), 0.8, seed=28, plan=replace(_lanes(3, 4, 1), row_width=49)),
    Case(geometry(6, 5, 20, 6, 1, n=2), 0.8, seed=29, plan=replace(_lanes(2, 2, 2), row_width=20)),
    Case(geometry(8, 8, 32, 32), 0.25, seed=1, plan=_lanes(4, 1, 8)),
    Case(geometry(7, 9, 17, 5), 0.5, seed=2, plan=_lanes(3, 2, 7)),
    Case(geometry(7, 9, 3, 20), 1.0, seed=3, plan=_lanes(1, 8, 2)),  # refills that overlap
    Case(geometry(16, 16, 64, 33), 0.25, seed=4, plan=_lanes(8, 1, 5)),
    Case(geometry(16, 5, 30, 31), 0.5, rescale="single", seed=5, plan=_lanes(2, 3, 16)),
    Case(geometry(3, 70, 20, 6), 0.7, seed=6, plan=_lanes(4, 4, 1)),  # rows of several vectors
    Case(geometry(2, 33, 16, 7, (1, 5), pads=(0, 0, 2, 2)), 0.7, seed=7, plan=_lanes(2, 4, 2)),
    Case(geometry(9, 9, 35, 6, strides=(2, 2)), 0.5, seed=8, plan=_lanes(1, 6, 5)),
    Case(geometry(20, 41, 8, 9, strides=(2, 2), pads=(0, 1, 0, 1)), 0.5, seed=9, plan=_lanes(2, 4, 3)),
    Case(geometry(11, 40, 8, 9, 1, strides=(2, 2)), 0.8, seed=10, plan=_lanes(4, 4, 6)),
    Case(
        geometry(12, 12, 19, 6, strides=(3, 1), dilations=(1, 2), pads=(2, 0, 3, 1)), 0.6, seed=11, plan=_lanes(2, 2, 4)
    ),
    Case(
        geometry(12, 12, 4, 6, 5, strides=(1, 3), dilations=(2, 1), pads=(4, 4, 1, 2)),
        0.6,
        seed=12,
        plan=_lanes(1, 2, 4),
    ),
    Case(
        geometry(9, 14, 12, 6, (5, 2), strides=(2, 1), dilations=(3, 5), pads=(6, 6, 9, 0)),
        seed=13,
        plan=_lanes(3, 2, 2),
    ),
    Case(geometry(5, 5, 300, 9, 1), 0.7, seed=14, plan=_lanes(1, 4, 5)),  # turns along the channels
    Case(geometry(5, 5, 256, 9, 1), 0.7, seed=15, plan=_lanes(1, 3, 5)),
    Case(geometry(6, 6, 20, 70), 0.5, clamp=True, seed=16, plan=_lanes(2, 7, 6)),
    Case(geometry(6, 6, 20, 7, n=3), 0.5, seed=17, plan=_lanes(2, 7, 3)),
    Case(geometry(6, 6, 16, 3), 0.0, seed=18, plan=_lanes(2, 1, 6)),
    Case(geometry(6, 6, 16, 9), 0.1, seed=19, plan=_lanes(2, 2, 6)),
    Case(geometry(6, 6, 16, 9), 0.5, rescale="wide", clamp=True, seed=20, plan=_lanes(2, 2, 6)),
    Case(geometry(6, 6, 7, 9), 0.5, rescale="none", seed=21, plan=_lanes(2, 2, 6)),
    Case(geometry(6, 6, 7, 16, 1), 0.5, rescale="none", clamp=True, seed=22, plan=_lanes(1, 2, 6)),
    Case(geometry(4, 4, 1, 64, 1), 0.7, rescale="extreme-double", seed=23, plan=_lanes(1, 4, 4)),
    Case(geometry(4, 4, 1, 64, 1), 0.7, rescale="extreme-single", seed=24, plan=_lanes(1, 4, 4)),
    Case(geometry(4, 4, 1, 300, 1), 0.7, rescale="bounded-double", seed=30, plan=_lanes(1, 2, 4)),
    Case(geometry(4, 4, 1, 300, 1), 0.7, rescale="edge-double", zero_point=0, seed=34, plan=_lanes(1, 2, 4)),
    Case(geometry(4, 4, 4, 40), 0.3, rescale="bounded-double", clamp=True, seed=31, plan=_lanes(1, 5, 4)),
    Case(geometry(7, 7, 20, 23), 0.8, output_zero_point=-128, seed=32, plan=_lanes(3, 5, 4)),
    Case(geometry(9, 9, 1, 60, 1), 0.8, rescale="wide", seed=33, output_zero_point=3, plan=_lanes(2, 3, 9)),
    Case(geometry(1, 16, 5, 1, 1), zero_point=-128, seed=25, plan=_lanes(8, 1, 1)),
    Case(geometry(6, 4, 5, 2), zero_point=127, seed=26, plan=_lanes(1, 2, 4)),
    Case(geometry(2, 2, 5, 2, pads=(4, 4, 4, 4)), seed=27, plan=_lanes(2, 2, 9)),
    Case(geometry(2, 20, 8, 5, (1, 3), pads=(0, 0, 0, 30)), zero_point=5, seed=35, plan=_lanes(3, 2, 2)),
    Case(geometry(3, 90, 5, 6, (2, 3), pads=(1, 0, 20, 20), dilations=(1, 20)), seed=36, plan=_lanes(3, 2, 2)),
]

BATCHES: dict[str, list[Case]] = {
    "channels": [
        Case(geometry(7, 7, c, f), kept, seed=c)
        for c in _CHANNELS
        for f, kept in ((1 + c % 7, 0.5), (28, 1.0))
    ],
    "kernels": [
        Case(geometry(9, 10, c, 5, k), 0.6, seed=i)
        for i, k in enumerate((1, 2, 3, 5, 7, (1, 3), (3, 1), (5, 2)))
        for c in (3, 18)
    ],
    # Of one pixel or two: the results of four filters lie in a vector on MVE.
    "four-filters": [
        Case(
            geometry(2, w, c, f, k), kept, rescale=rescale, seed=c, plan=Plan("table", p, 4, 1, 2), output_zero_point=z
        )
        for p, w, c, f, k, kept, rescale, z in (
            (1, 1, 40, 9, 1, 1.0, "double", 5), (1, 3, 130, 8, 1, 1.0, "single", -7),
            (1, 1, 16, 4, 3, 0.8, "double", -128), (2, 6, 24, 7, 3, 0.7, "double", 0),
            (2, 5, 17, 300, 1, 0.6, "single", -128), (2, 2, 8, 2050, 1, 0.3, "double", 3),
            (1, 1, 64, 40, 1, 1.0, "extreme-double", 100), (2, 4, 33, 12, 1, 1.0, "extreme-single", -100),
            (1, 2, 48, 11, 1, 0.2, "double", 127), (2, 3, 31, 5, 1, 1.0, "wide", 9), (2, 3, 32, 6, 1, 1.0, "none", 9),
        )
    ],
    # Positions that no filter keeps: the middle column or row, all but these, all but a corner, rows above and below.
    "positions": [
        Case(geometry(h, w, c, f, strides=(s, s)), kept, zero_point=-128, seed=i, pruned=pruned)
        for i, (h, w, c, f, s, kept, pruned) in enumerate(
            [
                (4, 4, 16, 20, 1, 0.6, (1, 4, 7)),
                (4, 4, 40, 12, 1, 1.0, (0, 2, 3, 5, 6, 8)),
                (8, 8, 20, 9, 1, 0.5, (3, 4, 5)),
                (8, 8, 16, 12, 1, 0.7, (0, 1, 2, 6, 7, 8)),
                (8, 8, 32, 6, 2, 1.0, (0, 1, 2, 3, 4, 5, 6, 7)),
                (3, 3, 36, 12, 1, 0.6, (1, 2, 3, 4, 5, 6, 7, 8)),
                (3, 5, 24, 16, 1, 0.6, (1, 4, 7)),
                (6, 9, 48, 8, 1, 0.5, (0, 1, 2, 3, 6)),
                (2, 2, 64, 8, 1, 0.5, (4,)),
                (5, 12, 7, 6, 2, 0.8, (2, 5, 8)),
            ]
        )
    ],
    # What is read of a row is as wide as the input, though padding is part of it.
    "shifted": [
        Case(geometry(3, 9, 28, 10, 2, strides=(3, 3), dilations=(2, 2), pads=(0, 2, 1, 1)), 0.5, seed=1),
        Case(geometry(4, 7, 9, 16, strides=(2, 2), pads=(0, 2, 1, 0)), 0.25, seed=2),
        Case(geometry(4, 7, 16, 6, strides=(2, 2), pads=(0, 1, 1, 0)), 0.5, seed=3),
    ],
    "strides-pads-dilations": [
        Case(geometry(11, 12, c, 6, k, strides=strides, pads=pads, dilations=dilations), 0.5, seed=i)
        for i, (k, strides, pads, dilations) in enumerate(
            [
                (3, (2, 2), (0, 1, 0, 1), (1, 1)),
                (3, (2, 2), (1, 1, 1, 1), (1, 1)),
                (3, (3, 3), (0, 0, 0, 0), (1, 1)),
                (3, (1, 2), (2, 0, 0, 3), (1, 1)),
                (1, (2, 2), (0, 0, 0, 0), (1, 1)),
                (1, (3, 1), (1, 0, 0, 2), (1, 1)),
                (3, (1, 1), (2, 2, 2, 2), (2, 2)),
                (3, (2, 1), (0, 1, 4, 4), (1, 3)),
                (5, (2, 3), (2, 1, 2, 0), (1, 1)),
                (5, (1, 1), (4, 4, 4, 4), (2, 2)),
            ]
        )
        for c in (4, 16, 35)
    ],
    "sizes": [
        Case(geometry(h, w, c, 9), 0.7, seed=h * 31 + w)
        for h, w in ((1, 1), (1, 5), (2, 2), (3, 1), (4, 4), (5, 3), (6, 7), (1, 16), (33, 2), (17, 23))
        for c in (3, 24)
    ]
    + [Case(geometry(4, 180, 96, 2), 0.5, seed=1)],  # offsets beyond 16 bits
    "groups": [
        Case(geometry(8, 6, c, f, k, groups=groups, strides=(s, s)), 0.6, seed=i)
        for i, (c, f, k, groups, s) in enumerate(
            [(4, 4, 3, 2, 1), (6, 12, 3, 3, 2), (8, 16, 3, 8, 1), (32, 32, 3, 2, 1), (40, 8, 1, 4, 1), (9, 9, 5, 3, 1)]
        )
    ],
    "depthwise": [
        Case(geometry(h, w, c, c, k, groups=c, strides=(s, s), dilations=(d, d)), kept, rescale=rescale, seed=c)
        for h, w, c, k, s, d, kept, rescale in [
            (8, 8, 16, 3, 1, 1, 1.0, "double"),
            (7, 9, 2, 3, 1, 1, 0.5, "single"),
            (7, 9, 3, 3, 2, 1, 0.7, "double"),
            (9, 7, 5, 5, 1, 1, 0.3, "double"),
            (9, 5, 21, 3, 1, 2, 0.8, "wide"),
            (6, 6, 35, 7, 2, 1, 0.6, "single"),
            (5, 5, 64, 1, 1, 1, 0.5, "none"),
            (9, 6, 24, 5, 1, 2, 1.0, "double"),
            (6, 10, 9, 8, 1, 1, 1.0, "single"),
        ]
    ]
    + [
        Case(geometry(5, w, c, c, groups=c, strides=(s, s)), kept, rescale=rescale, largest=largest, plan=plan, seed=w)
        for w, c, s, kept, rescale, largest, plan in [
            (9, 20, 1, 1.0, "double", 127, Plan("depthwise", 4, 1, 1, 2)),  # the last vector of channels overlaps
            (6, 8, 2, 0.9, "single", 127, Plan("depthwise", 1, 1, 1, 3)),
            (7, 136, 1, 0.8, "double", 127, Plan("depthwise", 3, 1, 1, 4)),  # pixels are out of a load's reach
            (7, 16, 2, 1.0, "double", 28, Plan("depthwise", 2, 1, 1, 2)),  # all products fit into one sum of i16
            (8, 16, 1, 1.0, "single", 60, Plan("depthwise", 2, 1, 1, 2)),
            (4, 16, 1, 1.0, "double", 127, Plan("depthwise", 2, 1, 1, 2, unrolled=3)),
            (6, 24, 1, 0.0, "double", 127, Plan("depthwise", 2, 1, 1, 2)),
            (5, 300, 1, 0.3, "double", 127, Plan("depthwise", 4, 1, 1, 2)),
        ]
    ],
    "sparsity": [
        Case(geometry(6, 6, c, 11), kept, clamp=bool(i % 2), seed=i)
        for c in (3, 20, 40)
        for i, kept in enumerate((0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0))
    ]
    + [  # most results are constants
        Case(geometry(5, 6, 16, f, k, n=2), kept, clamp=bool(f % 3), seed=f)
        for f, k, kept in (
            (4, 1, 0.2), (5, 1, 0.2), (9, 3, 0.02), (12, 1, 0.1), (20, 1, 0.3), (31, 3, 0.01), (36, 1, 0.4),
            (64, 3, 0.03), (100, 1, 0.2),
        )
    ],
    "rescale": [
        Case(geometry(5, 6, c, 13, k), 0.6, rescale=rescale, clamp=clamp, seed=c + k)
        for rescale in ("double", "single", "wide", "none")
        for clamp in (False, True)
        for c, k in ((7, 3), (33, 1))
    ],
    "rectified": [
        Case(geometry(h, w, c, f, k), kept, rescale=rescale, seed=i, clamp=clamp, output_zero_point=-128)
        for i, (h, w, c, f, k, kept, rescale, clamp) in enumerate(
            [
                (4, 4, 16, 12, 3, 0.5, "double", False),
                (4, 4, 20, 11, 3, 0.5, "double", False),
                (5, 3, 16, 9, 3, 0.4, "single", False),
                (8, 8, 33, 6, 3, 0.6, "double", False),
                (3, 7, 16, 8, 1, 1.0, "wide", False),
                (6, 6, 24, 10, 3, 0.1, "double", False),
                (6, 5, 12, 8, 3, 0.5, "double", True),
                (6, 6, 16, 8, 3, 0.5, "extreme-double", False),
            ]
        )
    ],
    "extremes": [
        Case(geometry(2, w, c, 64, 1), 0.7, rescale=rescale, seed=i)
        for i, (w, c) in enumerate(((4, 1), (3, 2), (1, 9)))
        for rescale in ("extreme-double", "extreme-single")
    ]
    + [Case(geometry(3, 4, 40, 40, 1, groups=40), rescale=f"extreme-{kind}", seed=9) for kind in ("double", "single")],
    "constant-filters": [
        Case(geometry(9, 7, c, f, k, strides=(s, s)), kept, rescale=rescale, clamp=clamp, seed=f, plan=plan)
        for c, f, k, s, kept, rescale, clamp, plan in [
            (31, 13, 1, 1, 0.3, "double", False, None),
            (18, 9, 1, 2, 0.4, "single", True, None),
            (16, 13, 1, 1, 0.3, "double", False, Plan("table", 8, 1, 1, 2)),
            (31, 13, 1, 2, 0.3, "double", False, Plan("table", 4, 2, 1, 2)),
            (20, 13, 3, 1, 0.05, "double", False, Plan("table", 4, 1, 1, 2)),
            (20, 14, 3, 1, 0.05, "wide", True, Plan("table", 3, 4, 2, 2)),
            (20, 13, (3, 1), (2), 0.05, "none", False, None),
        ]
    ],
    "linear": [
        Case(geometry(1, 1, c, f, 1), kept, seed=c)
        for c, f, kept in ((126, 10, 1.0), (360, 10, 0.6), (5, 3, 1.0), (700, 4, 1.0))
    ],
    "row-width": [
        Case(geometry(h, w, c, f, 1, n=n), 0.8, element, rescale, seed=i, plan=plan)
        for i, (n, h, w, c, f, element, rescale, plan) in enumerate(
            [
                (1, 5, 5, 16, 7, "i8", "double", Plan("table", 4, 2, 1, 1, row_width=25)),
                (2, 5, 7, 20, 6, "i8", "single", Plan("table", 3, 1, 1, 2, row_width=14)),
                (1, 3, 9, 33, 5, "i8", "none", Plan("table", 2, 2, 1, 2, unrolled=1, row_width=1)),
                (2, 3, 5, 9, 6, "f32", "none", Plan("table", 4, 1, 1, 2, row_width=15)),
                (1, 25, 5, 40, 12, "i8", "wide", None),
                (3, 5, 10, 64, 8, "i8", "double", None),
                (1, 7, 7, 12, 9, "f32", "none", None),
            ]
        )
    ],
    "batch": [Case(geometry(5, 5, c, 4, n=3), 0.5, seed=c) for c in (6, 16, 33)],
    "plans": [
        Case(geometry(7, 9, c, f, strides=(s, s), dilations=(d, d)), kept, seed=i, plan=Plan("table", *plan))
        for i, (plan, c, f, s, d, kept) in enumerate(
            [
                ((4, 1, 1, 2), 20, 5, 1, 1, 0.4),
                ((3, 2, 1, 1), 20, 5, 1, 1, 0.4),
                ((2, 3, 2, 7), 33, 7, 1, 1, 0.5),
                ((1, 4, 3, 3), 17, 9, 2, 1, 0.6),
                ((4, 1, 3, 2), 40, 4, 2, 1, 0.9),
                ((3, 2, 3, 4), 31, 6, 1, 2, 0.3),
                ((4, 2, 2, 2), 70, 3, 1, 1, 0.5),
                ((2, 2, 3, 2), 130, 3, 1, 1, 0.5),
                ((1, 1, 2, 1), 16, 3, 1, 1, 0.1),
                ((4, 4, 3, 2), 5, 4, 1, 1, 1.0),
            ]
        )
    ]
    + [
        Case(geometry(6, 10, c, f, k, strides=(s, s)), kept, seed=i, plan=Plan("table", *plan, joined=c))
        for i, (plan, c, f, k, s, kept) in enumerate(
            [
                ((4, 1, 3, 2), 3, 5, 3, 1, 0.5),
                ((3, 2, 3, 6), 3, 7, 3, 2, 0.8),
                ((2, 3, 2, 1), 7, 4, 3, 1, 0.3),
                ((1, 4, 5, 2), 11, 5, 5, 1, 0.6),
                ((4, 2, 3, 3), 48, 4, 3, 1, 0.9),
            ]
        )
    ]
    + [
        Case(geometry(7, 9, c, f, k, strides=(s, s)), kept, seed=i, plan=Plan("table", *plan, joined=c % 16))
        for i, (plan, c, f, k, s, kept) in enumerate(
            [
                ((8, 1, 3, 2), 20, 5, 3, 1, 0.6),
                ((4, 2, 3, 3), 37, 7, 3, 1, 1.0),
                ((2, 4, 5, 2), 29, 4, 5, 2, 0.5),
                ((5, 1, 3, 1), 17, 3, 3, 2, 0.1),
            ]
        )
    ]
    + [
        Case(geometry(5, 11, c, f, 3), kept, seed=c, plan=Plan("table", *plan))
        for plan, c, f, kept in [
            ((8, 1, 3, 2), 31, 3, 0.7),
            ((8, 1, 1, 5), 130, 3, 0.4),
            ((7, 1, 2, 1), 90, 2, 1.0),
            ((4, 2, 3, 2), 400, 2, 1.0),
        ]
    ],
    "masked": [
        Case(
            geometry(7, 9, c, f, k, strides=(s, s)), kept, rescale=rescale, seed=i, plan=Plan("table", *plan, masked=1)
        )
        for i, (plan, c, f, k, s, kept, rescale) in enumerate(
            [
                ((4, 1, 1, 2), 20, 5, 3, 1, 0.6, "double"),
                ((3, 2, 1, 1), 20, 5, 3, 1, 0.2, "single"),
                ((2, 3, 2, 7), 33, 7, 3, 1, 0.5, "double"),
                ((4, 1, 1, 2), 16, 13, 3, 2, 0.15, "double"),
                ((4, 1, 3, 2), 37, 7, 3, 1, 0.4, "none"),
                ((4, 1, 1, 2), 8, 7, 3, 1, 0.0, "double"),
                ((4, 1, 1, 2), 8, 7, (3, 5), 1, 0.5, "wide"),
            ]
        )
    ],
    "padding": [
        Case(
            geometry(h, w, c, f, k, strides=(s, s), dilations=(d, d), pads=pads),
            1.0,
            rescale=rescale,
            seed=i,
            plan=Plan("table", *plan, dense=1, unrolled=300, skip_padding=1),
        )
        for i, (plan, h, w, c, f, k, s, d, pads, rescale) in enumerate(
            [
                ((4, 2, 3, 2), 6, 8, 20, 4, 3, 1, 1, (1, 1, 1, 1), "double"),
                ((4, 2, 3, 2, 4), 6, 9, 20, 5, 3, 1, 1, (1, 1, 1, 1), "single"),
                ((8, 1, 3, 9), 5, 8, 16, 3, 3, 1, 1, (1, 1, 1, 1), "double"),
                ((4, 1, 5, 2), 9, 9, 7, 3, 5, 2, 1, (2, 2, 2, 2), "double"),
                ((4, 1, 3, 3), 7, 8, 5, 3, 3, 1, 3, (3, 3, 3, 3), "none"),
                ((2, 2, 3, 1), 8, 8, 33, 2, 3, 2, 1, (0, 1, 0, 1), "double"),
                ((1, 1, 3, 1), 1, 1, 9, 3, 3, 1, 1, (1, 1, 1, 1), "double"),
                ((4, 2, 3, 1), 2, 5, 9, 3, 3, 1, 1, (3, 3, 1, 1), "double"),
            ]
        )
    ]
    + [
        Case(geometry(6, 8, 20, 4), zero_point=0, plan=Plan("table", 4, 2, 3, 2, unrolled=300, skip_padding=1)),
        Case(geometry(6, 6, 16, 40), 0.02, plan=Plan("table", 4, 1, 1, 2, unrolled=6, skip_padding=1)),
    ]
    + [
        Case(
            geometry(h, w, c, f, k, strides=(s, s), dilations=(d, d), pads=pads, groups=groups, n=n),
            kept,
            rescale=rescale,
            seed=i,
            plan=Plan("table", *plan, unrolled=6, skip_padding=1),
        )
        for i, (plan, n, h, w, c, f, k, s, d, groups, pads, kept, rescale) in enumerate(
            [
                ((4, 2, 1, 2), 1, 4, 4, 20, 9, 3, 1, 1, 1, (1, 1, 1, 1), 0.5, "double"),
                ((2, 2, 3, 9), 2, 5, 7, 33, 8, 3, 1, 1, 1, (1, 1, 1, 1), 0.9, "single"),
                ((4, 2, 1, 2), 1, 9, 9, 7, 7, 5, 2, 1, 1, (2, 2, 2, 2), 0.3, "wide"),
                ((3, 4, 1, 3), 1, 7, 8, 5, 11, 3, 1, 3, 1, (3, 3, 3, 3), 0.2, "none"),
                ((1, 2, 1, 1), 1, 1, 1, 9, 6, 3, 1, 1, 1, (1, 1, 1, 1), 0.2, "double"),
                ((4, 2, 2, 1), 1, 2, 5, 9, 6, 3, 1, 1, 1, (3, 3, 1, 1), 0.4, "double"),
                ((4, 1, 1, 2), 1, 6, 6, 12, 8, 3, 1, 1, 2, (1, 1, 1, 1), 0.6, "double"),
                ((4, 1, 1, 2), 1, 6, 6, 12, 8, 3, 1, 1, 1, (1, 1, 1, 1), 0.1, "double"),
                ((2, 2, 3, 2), 1, 4, 6, 30, 8, 3, 2, 1, 1, (0, 1, 0, 1), 0.7, "double"),
                ((4, 1, 1, 4), 1, 4, 4, 23, 12, 3, 1, 1, 1, (1, 1, 1, 1), 0.25, "double"),
                ((3, 1, 2, 4), 1, 5, 3, 6, 12, (5, 3), 1, 1, 1, (2, 2, 1, 1), 0.15, "single"),
            ]
        )
    ],
    "f32": [
        Case(geometry(h, w, c, f, k, groups=groups, strides=(s, s)), kept, "f32", clamp=bool(c % 2), seed=c)
        for h, w, c, f, k, groups, s, kept in [
            (7, 7, 1, 4, 3, 1, 1, 1.0),
            (8, 9, 3, 8, 3, 1, 1, 0.5),
            (8, 8, 17, 5, 3, 1, 2, 0.4),
            (6, 6, 32, 16, 1, 1, 1, 0.7),
            (9, 9, 8, 8, 5, 8, 1, 0.5),
            (9, 9, 11, 11, 3, 11, 2, 1.0),
            (5, 5, 12, 6, 3, 3, 1, 0.0),
            (1, 1, 130, 10, 1, 1, 1, 1.0),
        ]
    ],
}  # fmt: skip

_THUMB1 = [
    Case(geometry(6, 7, c, 5, 3, strides=(1, stride)), 0.7, seed=c, plan=Plan("table", pixels, filters, 1, 2, 0, 0, 60))
    for c, stride, pixels, filters in ((7, 1, 4, 1), (64, 2, 3, 1), (132, 1, 2, 2), (31, 2, 1, 4), (16, 1, 4, 1))
]
"""Weights at any address and at whole words, pixels near and far, with sums in every register."""

_SCALAR = [
    Case(geometry(5, 9, c, 6, 3, strides=(1, s)), 0.7, seed=c, plan=Plan("table", pixels, filters, width, 2, 0, 0, n))
    for c, s, pixels, filters, width, n in (
        (20, 1, 4, 4, 3, 40), (33, 1, 8, 2, 1, 60), (600, 2, 4, 2, 2, 500), (7, 1, 8, 1, 3, 90), (64, 1, 5, 3, 1, 4),
    )
]  # fmt: skip
"""Sums in every register, filters that share inputs and that do not, and loads out of reach."""

_DSP = [
    Case(geometry(5, 9, c, 9, 3, strides=(1, s)), 0.7, seed=c, plan=Plan("table", p, f, width, 2, joined, dense, n))
    for c, s, p, f, width, joined, dense, n in (
        (20, 1, 8, 1, 3, 0, 0, 200), (33, 1, 4, 2, 2, 0, 0, 4), (19, 1, 3, 2, 3, 3, 0, 90), (7, 2, 4, 2, 3, 7, 0, 90),
        (600, 2, 2, 4, 2, 0, 0, 20), (64, 1, 2, 2, 1, 0, 1, 300), (16, 1, 7, 1, 1, 0, 0, 40), (5, 1, 1, 3, 2, 0, 1, 90),
    )
]  # fmt: skip
"""All numbers of sums, one to four filters, inputs at whole words and at any, near and out of reach."""

_PAIRS = [
    Case(geometry(7, 9, c, f, k, strides=(s, s)), kept, rescale=rescale, seed=i, plan=Plan("pairs", pixels, 1, 1, 3))
    for i, (pixels, c, f, k, s, kept, rescale) in enumerate(
        [
            (4, 16, 6, 3, 1, 0.5, "double"),
            (2, 13, 7, 3, 1, 0.7, "single"),  # an odd one
            (8, 20, 4, 3, 2, 0.8, "double"),
            (3, 36, 9, 5, 1, 0.15, "wide"),  # pairs without common positions, and filters without any
            (1, 7, 2, 3, 1, 1.0, "none"),  # nothing is kept by one alone
            (4, 5, 15, 1, 1, 0.4, "double"),
            (2, 9, 8, 3, 1, 0.02, "single"),
            (4, 8, 5, 3, 1, 0.0, "double"),
        ]
    )
] + [
    Case(geometry(8, 9, c, f, k, strides=(s, s), dilations=(d, d)), kept, seed=c, plan=Plan("pairs", pixels, 1, k, 3))
    for pixels, c, f, k, s, d, kept in [
        (4, 16, 7, 3, 1, 1, 0.9),
        (2, 9, 6, 3, 2, 1, 0.8),
        (3, 22, 4, 2, 1, 2, 1.0),  # nothing but whole rows
        (4, 12, 8, 5, 1, 1, 0.3),  # no row that both keep wholly
    ]
]

_PAIRS += [Case(geometry(5, 4, 12, 3), 0.5, seed=9, plan=Plan("pairs", 4, 1, 1, 3))]
"""Its first filter is the odd one."""

_PAIRS += [
    Case(
        geometry(h, w, c, f, k, strides=(s, s), dilations=(d, 1), pads=pads, n=2),
        kept,
        rescale=rescale,
        seed=c,
        zero_point=zero_point,
        plan=Plan("pairs", pixels, 1, width, 3, skip_padding=1),
    )
    for pixels, h, w, c, f, k, s, d, pads, width, kept, zero_point, rescale in [
        (4, 4, 4, 16, 7, 3, 1, 1, (1, 1, 1, 1), 3, 0.9, -128, "double"),
        (2, 4, 4, 13, 6, 3, 1, 1, (1, 1, 1, 1), 1, 0.4, 0, "single"),
        (4, 8, 9, 21, 9, 3, 2, 1, (0, 1, 0, 1), 3, 0.6, -5, "double"),
        (3, 7, 5, 20, 8, 5, 1, 1, (2, 2, 2, 2), 1, 0.3, 127, "wide"),
        (4, 6, 8, 9, 10, 3, 1, 2, (2, 2, 1, 1), 3, 0.7, 64, "double"),
        (1, 1, 3, 24, 5, 3, 1, 1, (1, 1, 1, 1), 1, 0.5, -128, "none"),  # one row of the kernel is inside
        (4, 2, 4, 8, 40, 3, 1, 1, (3, 3, 1, 1), 3, 0.03, -128, "double"),  # rows of nothing but padding
    ]
]
"""Padding is skipped, of any zero point."""

_PARTS = [
    replace(case, plan=replace(case.plan, kernel=kernel, run_width=width))
    for case in _PAIRS
    if case.plan
    for kernel, width in (("pairs", case.plan.run_width), ("mixed", case.geometry.kw))
]
"""Of two filters together, and of each."""

LINEAR = [
    Case(geometry(h, w, c, f, 1, strides=(s, s), n=n), kept, rescale=rescale, clamp=clamp, seed=i,
         plan=Plan("linear", pixels, 4, 1, 3, unrolled=unrolled))
    for i, (n, h, w, c, f, s, pixels, unrolled, kept, rescale, clamp) in enumerate([
        (1, 1, 1, 64, 40, 1, 1, 64, 0.25, "double", False),  # constants stored one by one
        (2, 1, 1, 70, 33, 1, 1, 64, 0.5, "double", False),
        (1, 1, 1, 128, 120, 1, 1, 64, 0.1, "single", False),  # constants stored at once
        (1, 1, 1, 500, 30, 1, 1, 64, 0.6, "double", False),  # turns along the channels
        (1, 1, 1, 33, 6, 1, 1, 64, 1.0, "double", False),  # filters that four do not divide
        (1, 1, 1, 48, 9, 1, 1, 64, 0.1, "double", False),  # fewer filters than a block has
        (1, 1, 1, 20, 7, 1, 1, 64, 0.0, "double", False),
        (1, 3, 5, 24, 14, 1, 2, 64, 0.4, "double", False),
        (1, 6, 7, 16, 12, 2, 2, 64, 0.5, "wide", False),
        (1, 2, 3, 30, 13, 1, 4, 64, 0.5, "double", False),
        (1, 1, 1, 80, 21, 1, 1, 64, 0.5, "wide", True),
        (1, 2, 4, 40, 11, 1, 2, 64, 0.5, "none", False),
        (1, 1, 1, 90, 25, 1, 1, 4, 0.5, "none", True),
    ])
]  # fmt: skip
"""Of four filters that have weights, wherever these are."""

OF_HOSTS = BATCHES | {"pixel-lanes": PIXEL_LANES}
"""What hosts compute that have the ``pixel_lanes`` kernel."""

OF_TARGET: dict[str, list[Case]] = {
    "cortex-m55": _INPUT_STATIONARY,
    "cortex-m0plus": _THUMB1 + _PARTS,
    "cortex-m3": _SCALAR + _PARTS,
    "cortex-m4": _DSP + _PARTS,
    "riscv32": _SCALAR + _PARTS,
    "host": PIXEL_LANES if isa_of(HOST.isa, HOST.vector_bytes).pixel_sums else [],
}
"""By target, what no other one computes, or none in this way; that of hosts takes AVX2 or dot products."""

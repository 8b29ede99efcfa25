"""Random small int8 networks: what they are made of, how they are drawn, and how they are kept as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hypothesis import strategies as st

from dtmm_mlir.dialect.ops import Geometry
from tests.fuzz.examples import examples_of

Shape = tuple[int, int, int]
"""Height, width and channels of one image."""

SCALES = ("double", "single", "wide", "extreme-double", "extreme-single")
"""Kinds of requantization, see ``realize``."""

_CHANNELS = (1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48, 65)
_LARGEST = 16 * 1024
"""Values of one image, and weights of one convolution, at most."""


@dataclass(frozen=True)
class Node:
    """One layer.

    Attributes:
        kind: ``conv``, ``max_pool``, ``average_pool``, ``add``, ``concat``, ``clamp`` or ``flatten``.
        sources: what it reads: 0 is the network's input, ``i`` the result of the node before the ``i``-th.
        options: of that kind; numbers, texts and lists of such.
    """

    kind: str
    sources: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """Layers on one input; the last one is the output.

    Attributes:
        batch: images per inference.
        shape: of one image.
        nodes: in the order in which they run.
        seed: of weights, scales and inputs.
    """

    batch: int
    shape: Shape
    nodes: tuple[Node, ...]
    seed: int

    def shapes(self) -> list[Shape]:
        """Of the input, then of each node's result."""
        shapes = [self.shape]
        for node in self.nodes:
            shapes.append(output_shape(node, shapes))
        return shapes

    def json(self) -> str:
        """The network as text that ``read`` understands."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def read(text: str) -> Network:
        """The network behind what ``json`` wrote."""
        fields = json.loads(text)
        nodes = tuple(Node(n["kind"], tuple(n["sources"]), n["options"]) for n in fields["nodes"])
        return Network(fields["batch"], tuple(fields["shape"]), nodes, fields["seed"])


def geometry(node: Node, shape: Shape) -> Geometry:
    """The window of a ``conv`` or a pool on an image of ``shape``; a pool is a depthwise convolution."""
    o = node.options
    filters, groups = (o["filters"], o["groups"]) if node.kind == "conv" else (shape[2], shape[2])
    dilations = tuple(o.get("dilations", (1, 1)))
    return Geometry(1, *shape, filters, *o["kernel"], tuple(o["strides"]), dilations, tuple(o["pads"]), groups)  # type: ignore[arg-type]


def output_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Of the result of ``node``, where ``shapes`` are those before it."""
    first = shapes[node.sources[0]]
    if node.kind in ("conv", "max_pool", "average_pool"):
        return geometry(node, first).output_shape[1:]
    if node.kind == "flatten":
        return (1, 1, first[0] * first[1] * first[2])
    if node.kind == "concat":
        sizes = list(first)
        sizes[node.options["axis"]] = sum(shapes[source][node.options["axis"]] for source in node.sources)
        return (sizes[0], sizes[1], sizes[2])
    return first


def sample(number: int, count: int) -> list[Network]:
    """``count`` networks; the same for the same ``number``."""
    return examples_of(networks(), number, count)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Networks of one to six layers."""
    batch = draw(st.sampled_from((1, 1, 1, 2)))
    shape = (draw(st.integers(1, 14)), draw(st.integers(1, 14)), draw(st.sampled_from(_CHANNELS)))
    shapes: list[Shape] = [shape]
    nodes: list[Node] = []
    for _ in range(draw(st.integers(1, 6))):
        node = draw(_node(shapes))
        result = output_shape(node, shapes)
        if max(result[0] * result[1] * result[2], _weights(node, shapes)) <= _LARGEST:
            nodes.append(node)
            shapes.append(result)
    if not nodes:
        nodes.append(Node("clamp", (0,), {"low": -100, "high": 100}))
    return Network(batch, shape, tuple(nodes), draw(st.integers(0, 1 << 20)))


def _weights(node: Node, shapes: Sequence[Shape]) -> int:
    if node.kind != "conv":
        return 0
    g = geometry(node, shapes[node.sources[0]])
    return g.f * g.kh * g.kw * g.group_channels


@st.composite
def _node(draw: st.DrawFn, shapes: list[Shape]) -> Node:
    kind = draw(st.sampled_from(("conv",) * 6 + ("max_pool", "average_pool", "add", "concat", "clamp", "flatten")))
    # The latest value is the likeliest source: networks are chains with a few side branches.
    source = draw(st.sampled_from([len(shapes) - 1] * 4 + list(range(len(shapes)))))
    shape = shapes[source]
    if kind == "conv":
        return Node(kind, (source,), draw(_convolution(shape)))
    if kind in ("max_pool", "average_pool"):
        return Node(kind, (source,), draw(_pool(shape)))
    if kind == "add":
        partners = [i for i, other in enumerate(shapes) if other == shape]
        rounding = draw(st.sampled_from(("double", "single")))
        return Node(kind, (source, draw(st.sampled_from(partners))), {"rounding": rounding})
    if kind == "concat":
        axis = draw(st.sampled_from((2, 2, 0, 1)))
        partners = [i for i, s in enumerate(shapes) if all(s[a] == shape[a] for a in range(3) if a != axis)]
        others = draw(st.lists(st.sampled_from(partners), min_size=1, max_size=2))
        return Node(kind, (source, *others), {"axis": axis})
    if kind == "clamp":
        low = draw(st.integers(-128, 126))  # not a constant: stock IREE 3.13 sums one up to something else in a pool
        return Node(kind, (source,), {"low": low, "high": draw(st.integers(low + 1, 127))})
    return Node(kind, (source,))


@st.composite
def _convolution(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    h, w, c = shape
    form = draw(st.sampled_from(("filterlet", "filterlet", "tosa", "linalg")))
    groups = draw(st.sampled_from([1, 1, 1, c] + [g for g in range(2, c) if c % g == 0 and form == "filterlet"]))
    filters = draw(st.sampled_from(_CHANNELS))
    if groups > 1:
        each = draw(st.sampled_from((1, 1, 1, 2, 3)))
        filters = groups * (c // groups if form == "filterlet" and draw(st.booleans()) else each)
    window = draw(_window(h, w, dilated=True, exact=form == "tosa"))
    scales = SCALES if form == "filterlet" else SCALES[:3]
    options = {
        "form": form,
        "filters": filters,
        "groups": groups,
        **window,
        "kept": draw(st.sampled_from((1.0, 1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.02, 0.0))),
        "read": draw(st.sampled_from((1.0, 1.0, 0.7, 0.3))),
        "pruned": draw(st.just([]) | _positions(*window["kernel"])),
        "scale": draw(st.sampled_from((*scales, "none") if form == "filterlet" else scales)),
        "clamp": draw(st.sampled_from((None, None, [-128, 127], [-100, 90], [0, 127], [5, 5], [-128, -128]))),
        "large_bias": draw(st.booleans()),
        "plan": None,
    }
    if form == "filterlet" and draw(st.booleans()):
        options["plan"] = draw(_plan(c, filters, groups, window))
    return options


@st.composite
def _positions(draw: st.DrawFn, kh: int, kw: int) -> list[int]:
    """Kernel positions that no filter keeps: rows, columns, or any."""
    rows, columns = (draw(st.lists(st.integers(0, size - 1), unique=True, max_size=size)) for size in (kh, kw))
    scattered = draw(st.lists(st.integers(0, kh * kw - 1), unique=True, max_size=kh * kw))
    lines = [p for p in range(kh * kw) if p // kw in rows or p % kw in columns]
    return draw(st.sampled_from((lines, sorted(scattered))))


@st.composite
def _plan(draw: st.DrawFn, c: int, filters: int, groups: int, window: dict[str, Any]) -> dict[str, Any]:
    """Fields of a valid ``Plan``."""
    kw = window["kernel"][1]
    width = draw(st.integers(1, kw))
    joined = [0, 0]
    if groups == 1 and window["dilations"][1] == 1:
        joined += [c] + ([c % 16] if width == kw else [])
    depthwise = groups == c == filters and c > 1 and draw(st.booleans())
    return {
        "kernel": "depthwise" if depthwise else "table",
        "pixels": draw(st.integers(1, 4 if depthwise else 8)),
        "filters": 1 if groups > 1 else draw(st.integers(1, min(4, filters))),
        "run_width": 1 if depthwise else width,
        "rows": draw(st.integers(1, 9)),
        "joined": draw(st.sampled_from(joined)),
        "dense": 0 if depthwise else draw(st.integers(0, 1)),
        "unrolled": draw(st.sampled_from((1, 2, 7, 72))),
        "skip_padding": draw(st.integers(0, 1)),
    }


@st.composite
def _pool(draw: st.DrawFn, shape: Shape) -> dict[str, Any]:
    return draw(_window(shape[0], shape[1], dilated=False, exact=True))


@st.composite
def _window(draw: st.DrawFn, h: int, w: int, *, dilated: bool, exact: bool) -> dict[str, Any]:
    """Kernel, strides, dilations and pads of which at least one window fits.

    Args:
        dilated: of a convolution; a pool has smaller pads than its kernel, and no dilations.
        exact: windows end where the padded image ends, as TOSA wants it.
    """
    axes = [draw(_axis(size, dilated=dilated, exact=exact)) for size in (h, w)]
    kernel, strides, dilations, before, after = (list(column) for column in zip(*axes, strict=True))
    pads = [before[0], after[0], before[1], after[1]]
    return {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}


@st.composite
def _axis(draw: st.DrawFn, size: int, *, dilated: bool, exact: bool) -> tuple[int, int, int, int, int]:
    """Kernel, stride, dilation, pads before and after, along one axis."""
    kernel = draw(st.sampled_from((1, 2, 3, 3, 3, 4, 5, 7)))
    dilation = draw(st.sampled_from((1, 1, 1, 2, 3))) if dilated else 1
    stride = draw(st.sampled_from((1, 1, 2, 3)))
    reach = dilation * (kernel - 1) + 1
    largest = reach - 1 if dilated else kernel - 1
    before, after = draw(st.integers(0, min(largest, 5))), draw(st.integers(0, min(largest, 5)))
    missing = max(0, reach - size - before - after)  # at least one window has to fit
    if missing and not dilated:
        kernel, before, after = 1, 0, 0
        reach = 1
    elif missing:
        before, after = before + missing - missing // 2, after + missing // 2
    rest = (size + before + after - reach) % stride
    if exact and rest:
        if dilated or after + stride - rest < kernel:
            after += stride - rest
        else:
            stride = 1
    return kernel, stride, dilation, before, after

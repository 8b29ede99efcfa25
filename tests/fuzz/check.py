"""Networks through the compiler, on several targets, against their references."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import dtmm_mlir
from dtmm_mlir.errors import DtmmError
from tests.fuzz import litert, tflite
from tests.fuzz.networks import Network, Node
from tests.fuzz.realize import build_module, realize

LITERT = "litert"
TARGETS = (
    "host",
    "cortex-m55",
    "cortex-m4",
    "cortex-m0plus",
    "cortex-m3",
    "riscv32",
    *([LITERT] if litert.INSTALLED else []),
)
REGRESSIONS = Path(__file__).with_name("regressions")


@dataclass(frozen=True)
class Failure:
    """A network that is not computed as it should be.

    Attributes:
        network: what.
        target: where.
        reason: in words.
    """

    network: Network
    target: str
    reason: str

    @property
    def kind(self) -> str:
        """What it has in common with failures of the same cause: its first words, without numbers."""
        return " ".join(re.sub(r"\d+", "", self.reason).split()[:4])

    def save(self, folder: Path = REGRESSIONS) -> Path:
        """Keeps the network as a case to try again for ever."""
        text = self.network.json()
        path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        return path


def regressions() -> list[Path]:
    """Networks that once failed."""
    return sorted(REGRESSIONS.glob("*.json"))


def failures(networks: Sequence[Network], target: str) -> list[Failure]:
    """The networks that ``target`` does not compute as the reference does.

    All of them are one model. Where that cannot be compiled or run, its halves are, down to single networks.

    Args:
        target: of the compiler, against plain numpy; or ``litert``: as a TFLite model on the host, against LiteRT's
            reference kernels.
    """
    networks = [network for network in networks if target != LITERT or tflite.representable(network)]
    if not networks:
        return []
    try:
        pairs = _against_litert(networks) if target == LITERT else _against_numpy(networks, target)
    except DtmmError as error:
        if len(networks) == 1:
            refused = "computes nothing" in error.message  # all that reaches its result is constant
            return [] if refused else [Failure(networks[0], target, str(error))]
        half = len(networks) // 2
        return failures(networks[:half], target) + failures(networks[half:], target)
    found = []
    for network, (result, expected) in zip(networks, pairs, strict=True):
        if result.dtype != expected.dtype or not np.array_equal(result, expected):
            wrong = int((result != expected).sum())
            found.append(Failure(network, target, f"{wrong} of {result.size} values differ"))
    return found


Pairs = list[tuple[np.ndarray, np.ndarray]]
"""Of each network, the result and what it should be."""


def _against_numpy(networks: Sequence[Network], target: str) -> Pairs:
    realized = [realize(network, f"n{i}") for i, network in enumerate(networks)]
    results = dtmm_mlir.compile(build_module(realized), target=target).execute([r.x for r in realized]).outputs
    return [(result, r.expected) for r, result in zip(realized, results, strict=True)]


def _against_litert(networks: Sequence[Network]) -> Pairs:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(tflite.write(networks))
        inputs, expected = litert.run(path, seed=networks[0].seed)
        return list(zip(dtmm_mlir.compile(path).execute(inputs).outputs, expected, strict=True))


def shrink(failure: Failure, attempts: int = 40) -> Failure:
    """A smaller network that fails on the same target, after at most ``attempts`` compilations."""
    smaller = True
    while smaller:
        smaller = False
        for network in simpler(failure.network):
            if attempts == 0:
                return failure
            attempts -= 1
            found = failures([network], failure.target)
            if found and found[0].kind == failure.kind:
                failure, smaller = found[0], True
                break
    return failure


def simpler(network: Network) -> Iterator[Network]:
    """Networks with a layer, or a property, less."""
    for end in range(1, len(network.nodes)):
        yield replace(network, nodes=network.nodes[:end])
    for at in range(len(network.nodes)):
        used = any(at + 1 in later.sources for later in network.nodes)
        if not used and at + 1 < len(network.nodes):
            yield replace(network, nodes=tuple(_without(network.nodes, at)))
    if network.batch > 1:
        yield replace(network, batch=1)
    for at, node in enumerate(network.nodes):
        if node.kind == "conv":
            simple = {"plan": None, "clamp": None, "kept": 1.0, "read": 1.0, "pruned": [], "scale": "double"}
            for key, value in simple.items():
                if node.options.get(key, value) != value:
                    changed = replace(node, options={**node.options, key: value})
                    yield replace(network, nodes=(*network.nodes[:at], changed, *network.nodes[at + 1 :]))


def _without(nodes: Sequence[Node], at: int) -> Iterator[Node]:
    """``nodes`` without one that nobody reads."""
    for i, node in enumerate(nodes):
        if i != at:
            yield replace(node, sources=tuple(s - (s > at + 1) for s in node.sources))

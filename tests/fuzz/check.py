"""Networks through the compiler, on several targets, against their references."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import dtmm_mlir
from dtmm_mlir.errors import DtmmError
from tests.fuzz.networks import Network, Node
from tests.fuzz.realize import build_module, realize

TARGETS = ("host", "cortex-m55", "cortex-m4", "cortex-m0plus")
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
    """
    realized = [realize(network, f"n{i}") for i, network in enumerate(networks)]
    try:
        artifact = dtmm_mlir.compile(build_module(realized), target=target)
        results = artifact.run([r.x for r in realized])
    except DtmmError as error:
        if len(networks) == 1:
            refused = "computes nothing" in error.message  # all that reaches its result is constant
            return [] if refused else [Failure(networks[0], target, str(error))]
        half = len(networks) // 2
        return failures(networks[:half], target) + failures(networks[half:], target)
    found = []
    for network, r, result in zip(networks, realized, results if isinstance(results, list) else [results], strict=True):
        if result.dtype != r.expected.dtype or not np.array_equal(result, r.expected):
            wrong = int((result != r.expected).sum())
            found.append(Failure(network, target, f"{wrong} of {result.size} values differ"))
    return found


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
            for key, value in (("plan", None), ("clamp", None), ("kept", 1.0), ("scale", "double")):
                if node.options[key] != value:
                    changed = replace(node, options={**node.options, key: value})
                    yield replace(network, nodes=(*network.nodes[:at], changed, *network.nodes[at + 1 :]))


def _without(nodes: Sequence[Node], at: int) -> Iterator[Node]:
    """``nodes`` without one that nobody reads."""
    for i, node in enumerate(nodes):
        if i != at:
            yield replace(node, sources=tuple(s - (s > at + 1) for s in node.sources))

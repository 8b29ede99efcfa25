"""A fixed choice of random networks, and those that once failed, on every target.

``make fuzz MINUTES=n`` tries new ones for ``n`` minutes.
"""

from __future__ import annotations

import pytest

from tests.fuzz.check import TARGETS, failures, regressions
from tests.fuzz.networks import Network, sample

_FIXED = sample(0, 9)


@pytest.mark.parametrize("target", TARGETS)
def test_equal_the_reference(target: str) -> None:
    known = [Network.read(path.read_text()) for path in regressions()]
    found = failures([*_FIXED, *known], target)
    assert not found, "\n".join(f"{failure.reason}:\n{failure.network.json()}" for failure in found)


def test_networks_survive_their_files() -> None:
    for network in _FIXED:
        assert Network.read(network.json()) == network


def test_drawing_is_repeatable_and_varied() -> None:
    first, again, other = sample(5, 60), sample(5, 60), sample(6, 60)
    assert first == again
    assert first != other
    assert {node.kind for network in first for node in network.nodes} >= {"conv", "max_pool", "add", "concat"}

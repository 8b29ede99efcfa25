"""``python -m tests.fuzz --minutes 10``: new random networks until the time is over; keeps those that fail."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.fuzz.check import TARGETS, failures, shrink
from tests.fuzz.networks import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first batch; the next one's is +1")
    parser.add_argument("--batch", type=int, default=24, help="networks per compilation")
    parser.add_argument("--target", action="append", choices=TARGETS, help="one of them; by default all")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    networks = convolutions = 0
    failed: Counter[str] = Counter()
    seed = options.seed
    while time.monotonic() < end:
        batch = sample(seed, options.batch)
        for target in options.target or TARGETS:
            for failure in failures(batch, target):
                small = shrink(failure)
                failed[target] += 1
                print(f"{target}: {small.reason}; kept as {small.save()}", flush=True)
        networks += len(batch)
        convolutions += sum(node.kind == "conv" for network in batch for node in network.nodes)
        print(f"seed {seed}: {networks} networks, {convolutions} convolutions, {failed.total()} failures", flush=True)
        seed += 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""requirements-dev.lock: complete, with a checksum for each package, and without the place it came from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LOCK = ROOT / "requirements-dev.lock"


def _locked() -> dict[str, str]:
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    matches = [re.fullmatch(r"([a-z0-9.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines]
    assert all(matches)
    return {match[1]: match[2] for match in matches if match}


def test_direct_dependencies_are_locked_within_their_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    locked = _locked()
    for requirement in wanted:
        name, pin = re.match(r"([A-Za-z0-9_.-]+)(?:==([^,;]+))?", requirement).groups()  # type: ignore[union-attr]
        assert name.lower().replace("_", "-") in locked, requirement
        if pin:
            assert locked[name.lower().replace("_", "-")].partition("+")[0] == pin


def test_no_place_is_named() -> None:
    assert not re.search(r"://|index-url|find-links", LOCK.read_text())

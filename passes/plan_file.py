"""Plans that a person wrote down, or took from an artifact's manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dtmm_mlir.dialect.plan import Plan
from dtmm_mlir.errors import DtmmError


def read_plans(path: Path, layers: int) -> list[Plan | None]:
    """The plan of each convolution in the order of the model; ``None`` where the file leaves it to the planner.

    Args:
        path: JSON: an object whose ``layers`` is a list with one object per convolution; the ``plan`` of each, if there
            is one and it is not null, is an object with the fields of :class:`Plan`. An artifact's manifest is one.
        layers: how many convolutions the model has.

    Raises:
        DtmmError: the file is unreadable, has another number of layers, or a plan has wrong fields.
    """
    try:
        entries = json.loads(path.read_text())["layers"]
    except (OSError, UnicodeDecodeError) as error:
        raise DtmmError(f"cannot read the plans: {error}.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DtmmError(
            "the plans must be a JSON object with a list 'layers', as in manifest.json.", str(path)
        ) from None
    if not isinstance(entries, list) or len(entries) != layers:
        count = len(entries) if isinstance(entries, list) else "no list of"
        raise DtmmError(f"the file has plans for {count} layers, but the model has {layers} convolutions.", str(path))
    return [_plan(entry, number, path) for number, entry in enumerate(entries)]


def _plan(entry: Any, number: int, path: Path) -> Plan | None:
    fields = entry.get("plan") if isinstance(entry, dict) else entry
    if fields is None:
        return None
    try:
        return Plan.of(fields)
    except ValueError as error:
        raise DtmmError(f"layer {number}: {error}.", str(path)) from None

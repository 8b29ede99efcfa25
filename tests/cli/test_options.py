"""Values that several commands read alike."""

from __future__ import annotations

import click
import pytest

from dtmm_mlir.cli.options import Count, Size


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Count(), "20M", 20_000_000),
        (Count(), "500k", 500_000),
        (Count(), "1234", 1234),
        (Size(), "256K", 262_144),
        (Size(), "1 MiB", 1 << 20),
        (Size(), "64KB", 65_536),
        (Size(), "100", 100),
    ],
)
def test_numbers_with_units(kind: click.ParamType, text: str, value: int) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(("kind", "text"), [(Count(), "20MB"), (Count(), "many"), (Size(), "-1K"), (Size(), "1.5M")])
def test_what_is_no_number(kind: click.ParamType, text: str) -> None:
    with pytest.raises(click.BadParameter, match=f"'{text}' is no {kind.name}"):
        kind.convert(text, None, None)

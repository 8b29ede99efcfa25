"""Every MLIR example in the documentation is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from iree.compiler import ir

from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.verifier import verify

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, block in enumerate(re.findall(r"```mlir\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_valid(example: str) -> None:
    verify(ir.Module.parse(example, create_context()))

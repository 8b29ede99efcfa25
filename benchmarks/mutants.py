"""Mutation testing: changes a module in one place after the other and tells which changes no test notices.

``python benchmarks/mutants.py dialect/verifier.py tests/dialect/test_verifier.py tests/passes/test_pack.py``

Each mutant runs in a forked child, with the interpreter and MLIR's bindings loaded already: about a second each.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.machinery
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import iree.compiler.ir  # noqa: F401  loaded once for all
import numpy as np  # noqa: F401
import pytest

SECONDS = 60
"""After which a mutant counts as killed: it hangs."""

_COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    """What can be changed at ``node``: a description, and a function that changes a copy of it in place."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in _COMPARISONS:
                new = _COMPARISONS[type(op)]
                yield f"{type(op).__name__} -> {new.__name__}", lambda n, i=i, new=new: n.ops.__setitem__(i, new())
    if isinstance(node, ast.BoolOp):
        new_op = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"-> {new_op.__name__}", lambda n: setattr(n, "op", new_op())
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        other = _OPERATORS[type(node.op)]
        yield f"{type(node.op).__name__} -> {other.__name__}", lambda n: setattr(n, "op", other())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        plus = ast.UAdd if isinstance(node.op, ast.USub) else None
        if plus:
            yield "- -> +", lambda n: setattr(n, "op", plus())
    if isinstance(node, ast.If | ast.IfExp):
        yield "condition negated", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"{node.value} -> {node.value + 1}", lambda n: setattr(n, "value", n.value + 1)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield f"{node.value} -> {not node.value}", lambda n: setattr(n, "value", not n.value)
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
        yield "statement left out", lambda n: setattr(n, "value", ast.Constant(None))
    if isinstance(node, ast.Raise):
        yield "raise left out", lambda n: (setattr(n, "exc", None), setattr(n, "cause", None))  # type: ignore[func-returns-value]


def mutants(source: str) -> Iterator[tuple[int, str, ast.Module]]:
    """Line, description and tree of each change of ``source``."""
    tree = ast.parse(source)
    for at, node in enumerate(ast.walk(tree)):
        for description, change in changes(node):
            changed = copy.deepcopy(tree)
            target = next(other for i, other in enumerate(ast.walk(changed)) if i == at)
            change(target)
            yield getattr(node, "lineno", 0), description, ast.fix_missing_locations(changed)


def survives(path: Path, tree: ast.Module, tests: list[str]) -> bool:
    """Whether the tests pass with ``tree`` in the place of the module at ``path``."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        signal.alarm(SECONDS)
        code = compile(tree, str(path), "exec")
        original = importlib.machinery.SourceFileLoader.get_code

        def get_code(self: importlib.machinery.SourceFileLoader, name: str) -> object:
            return code if Path(self.path).resolve() == path else original(self, name)

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])))
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    options = parser.parse_args()
    path = options.module.resolve()
    source = path.read_text()
    if not survives(path, ast.parse(source), options.tests):
        sys.exit("error: the tests fail without any change.")
    lines, total, alive = source.splitlines(), 0, 0
    for line, description, tree in mutants(source):
        total += 1
        if survives(path, tree, options.tests):
            alive += 1
            print(f"{options.module}:{line}: {description}: {lines[line - 1].strip()}", flush=True)
    print(f"{options.module}: {total - alive} of {total} mutants killed ({100 * (total - alive) / total:.0f} %)")


if __name__ == "__main__":
    main()

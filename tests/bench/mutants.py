"""Small errors put into a program, each by itself: another result, a swapped operator, another constant."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Final

_SWAPS: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
Change = Callable[[ast.AST], bool]
"""Change a node in place; False when there is nothing of its kind to change."""


def changed(source: str) -> list[str]:
    """For each kind of error a program with it at its outermost place in `source`, and one at its innermost."""
    found = [
        program
        for change in (_result, _operator, _constant)
        for is_inner in (False, True)
        for program in _with(source, change, is_inner=is_inner)
    ]
    return list(dict.fromkeys(found))


def _with(source: str, change: Change, *, is_inner: bool) -> Iterator[str]:
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    for node in reversed(nodes) if is_inner else nodes:
        if change(node):
            yield ast.unparse(tree)
            return


def _result(node: ast.AST) -> bool:
    """`return x` becomes `return [x, 'another']`."""
    if not isinstance(node, ast.Return) or node.value is None:
        return False
    node.value = ast.List(elts=[node.value, ast.Constant("another")], ctx=ast.Load())
    return True


def _operator(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp) and type(node.op) in _SWAPS:
        node.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]
        return True
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
        node.ops[0] = _SWAPS[type(node.ops[0])]()  # type: ignore[assignment]
        return True
    return False


def _constant(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        node.value += 1
        return True
    return False

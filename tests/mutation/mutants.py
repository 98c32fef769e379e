"""Small wrong versions of a module: one changed comparison, sign, operator, number or word each.

Limits: annotations, docstrings, messages and imports are left alone, and so are strings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
WORDS: Final[dict[str, str]] = {
    "amax": "amin",
    "amin": "amax",
    "min": "max",
    "max": "min",
    "floor": "ceil",
    "ceil": "floor",
    "any": "all",
    "all": "any",
    "maximum": "minimum",
    "minimum": "maximum",
    "exp": "log",
    "isfinite": "isnan",
    "bisect_right": "bisect_left",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A wrong version of one module."""

    module: str
    line: int
    before: str
    """The smallest changed expression, as it was."""
    after: str
    text: str
    """The line as it was."""
    source: str

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}: {self.before}  ->  {self.after}   in   {self.text}"


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of the module at `path`, in order of its lines."""
    text = path.read_text()
    lines, count = text.splitlines(), len(list(_changes(ast.parse(text))))
    for number in range(count):
        tree = ast.parse(text)
        change = list(_changes(tree))[number]
        before = ast.unparse(change.node)
        change.apply()
        yield Mutant(
            module=path.stem,
            line=change.node.lineno,
            before=before,
            after=ast.unparse(change.node),
            text=lines[change.node.lineno - 1].strip(),
            source=ast.unparse(ast.fix_missing_locations(tree)),
        )


@dataclass(frozen=True, slots=True)
class Change:
    """Set one field of a node to something else."""

    node: ast.expr
    """What is shown."""
    holder: ast.AST
    field: str
    value: object

    def apply(self) -> None:
        setattr(self.holder, self.field, self.value)


def _changes(tree: ast.AST) -> Iterator[Change]:
    for node in _counted(tree):
        if not (isinstance(node, ast.UnaryOp) and ast.unparse(node) == "-1" and node in _axes(tree)):
            yield from _of_operator(node)
        yield from _of_atom(node)


def _axes(tree: ast.AST) -> set[ast.AST]:
    """Where a literal -1 names the last axis, which is axis 1 of the tables that the algorithms compute with."""
    positional = {argument for node in ast.walk(tree) if isinstance(node, ast.Call) for argument in node.args}
    named = {
        word.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == "dim"
    }
    return positional | named | {node.slice for node in ast.walk(tree) if isinstance(node, ast.Subscript)}


def _of_operator(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield Change(node, node, "ops", [*ops[:index], other(), *ops[index + 1 :]])
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            yield Change(node, node, "op", OPERATORS[type(op)]())
        case ast.BoolOp(op=ast.And()):
            yield Change(node, node, "op", ast.Or())
        case ast.BoolOp(op=ast.Or()):
            yield Change(node, node, "op", ast.And())
        case ast.UnaryOp(op=ast.USub()):
            yield Change(node, node, "op", ast.UAdd())
        case ast.UnaryOp(op=ast.Invert() | ast.Not() as op, operand=operand):  # twice is not at all
            yield Change(node, node, "operand", ast.UnaryOp(op=op, operand=operand))


def _of_atom(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Constant(value=bool() as value):
            yield Change(node, node, "value", not value)
        case ast.Constant(value=int() | float() as value):
            yield Change(node, node, "value", value + 1)
        case ast.Attribute(attr=word) if word in WORDS:
            yield Change(node, node, "attr", WORDS[word])
        case ast.Name(id=word, ctx=ast.Load()) if word in WORDS:
            yield Change(node, node, "id", WORDS[word])
        case ast.Call(keywords=keywords):
            for keyword in keywords:
                if keyword.arg in {"min", "max"}:
                    yield Change(node, keyword, "arg", WORDS[keyword.arg])


def _counted(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that compute, parents first."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "msg"} or (isinstance(tree, ast.keyword) and tree.arg == "strict"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                yield child
                yield from _counted(child)


def _is_left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dataclass":
        return True
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and _names_a_type(node.value)


def _names_a_type(node: ast.Subscript) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in {"Literal", "Mapping"}

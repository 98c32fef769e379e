r"""The tests of a record, in the forms that data sets use.  Pure.

[{"input": "3\n", "output": "6\n"}, ...]     standard input and output (LiveCodeBench)
{"inputs": [...], "outputs": [...]}          the same in columns (APPS, TACO, DeepCoder)
either, with "fn_name"                       calls of a function: arguments and result (metadata may say `func_name`)
["assert f(1) == 2", ...]                    assertions (MBPP); `test_setup_code` and `test_imports` are run first
"def check(candidate): ..."                  HumanEval; needs `entry_point`, and `prompt` if tests use what it defines

Any of them may be a JSON string.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.verifiers.verdicts import shown

_SAME: Final = """
def same(found, expected):
    if isinstance(found, (list, tuple)) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == expected
"""
_BUILTINS: Final = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class StreamTests:
    """What a program reads, and what it must print."""

    cases: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTests:
    """Python tests of functions that the program defines."""

    tests: tuple[str, ...]
    names: Mapping[str, str]
    """What the tests call, and what it is called in the program."""
    prelude: str = ""
    """Source that the tests need: the record's, never the model's."""
    opening: str = ""
    """What the program begins with: the prompt that it may be a continuation of."""
    entry: str = field(default="")

    def program(self, source: str) -> str:
        """A model's source as a whole program: after the record's opening, or as the rest of it."""
        if not self.opening:
            return source
        is_whole = re.search(rf"^(?:async\s+)?def\s+{re.escape(self.entry)}\b", source, re.MULTILINE)
        return f"{self.opening}\n    pass\n\n{source}" if is_whole else f"{self.opening}{source}"


def read_tests(record: Mapping[str, Any], *, field_name: str, most: int) -> StreamTests | FunctionTests:
    """The first `most` tests of a record; InvalidInput when they have none of the forms above."""
    tests = _loaded(record.get(field_name))
    if isinstance(tests, str) and "def check" in tests:
        return _check_function(tests, record)
    if isinstance(tests, list) and tests and all(isinstance(each, str) for each in tests):
        return _assertions(tests[:most], record)
    cases = _cases(tests)
    if not cases:
        raise InvalidInput(
            f"the record's field {field_name!r} is {shown(str(tests))}: no tests in a form that is known. "
            "Name the field with code.testsField."
        )
    function = _function_name(tests, record)
    if function is None:
        return StreamTests(tuple((_text(given), _text(wanted)) for given, wanted in cases[:most]))
    return _calls(function, cases[:most])


def _loaded(tests: Any) -> Any:
    """The tests, out of JSON if they came as a string of it."""
    if isinstance(tests, str) and tests.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(tests)
        except ValueError:
            return tests
    return tests


def _cases(tests: Any) -> Sequence[tuple[Any, Any]]:
    if isinstance(tests, dict) and isinstance(tests.get("inputs"), list) and isinstance(tests.get("outputs"), list):
        return list(zip(tests["inputs"], tests["outputs"], strict=False))
    if isinstance(tests, list) and all(isinstance(each, dict) and {"input", "output"} <= each.keys() for each in tests):
        return [(each["input"], each["output"]) for each in tests]
    return ()


def _function_name(tests: Any, record: Mapping[str, Any]) -> str | None:
    inner = record.get("metadata")
    places = (tests if isinstance(tests, dict) else {}, record, inner if isinstance(inner, dict) else {})
    found = [place[key] for place in places for key in ("fn_name", "func_name") if place.get(key)]
    if isinstance(tests, list) and any(each.get("testtype") == "stdin" for each in tests):
        return None
    return str(found[0]) if found else None


def _text(value: Any) -> str:
    """Standard input or output; some data sets keep its lines in a list."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _calls(function: str, cases: Sequence[tuple[Any, Any]]) -> FunctionTests:
    tests = tuple(f"assert same(candidate(*{_arguments(given)!r}), {_value(wanted)!r})" for given, wanted in cases)
    return FunctionTests(tests=tests, names={"candidate": function}, prelude=_SAME)


def _arguments(given: Any) -> list[Any]:
    """Arguments, from a list of them or from a line of JSON for each."""
    return [json.loads(line) for line in given.splitlines() if line.strip()] if isinstance(given, str) else list(given)


def _value(wanted: Any) -> Any:
    try:
        return json.loads(wanted) if isinstance(wanted, str) else wanted
    except ValueError:
        return wanted


def _check_function(tests: str, record: Mapping[str, Any]) -> FunctionTests:
    entry, prompt = record.get("entry_point"), record.get("prompt")
    if not isinstance(entry, str) or not entry.isidentifier():
        raise InvalidInput(f"tests with `check` need the field entry_point, and the record's is {shown(str(entry))}")
    opening = prompt if isinstance(prompt, str) and f"def {entry}" in prompt else ""
    return FunctionTests(
        tests=(f"{tests}\n\ncheck(candidate)\n",),
        names={"candidate": entry, entry: entry},
        prelude=f"{opening}\n    pass\n" if opening else "",
        opening=opening,
        entry=entry,
    )


def _assertions(tests: Sequence[str], record: Mapping[str, Any]) -> FunctionTests:
    """Assertions, whose unknown names are the program's."""
    imports = record.get("test_imports")
    lines = [*(imports if isinstance(imports, list) else []), str(record.get("test_setup_code") or "")]
    prelude = "\n".join(map(str, lines))
    try:
        names = unknown_names("\n".join((prelude, *tests))) or first_called(tests[0])
    except SyntaxError as problem:
        raise InvalidInput(f"the record's tests are not Python: {problem}") from problem
    # What the set-up uses of the program has to be there when it runs, so it is part of the first test.
    return FunctionTests(tests=(f"{prelude}\n{tests[0]}", *tests[1:]), names={name: name for name in names})


def first_called(source: str) -> list[str]:
    """The name that a test calls first: the function under test, where it is called like one of Python's own."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [function.id for function in calls if isinstance(function, ast.Name)][:1]


def unknown_names(source: str) -> list[str]:
    """Names that a module uses and neither defines nor finds built in, sorted."""
    used, defined = set(), set(_BUILTINS)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                defined.add(name)
            case ast.alias(name=name, asname=alias):
                defined.add(alias or name.partition(".")[0])
            case _:
                pass
    return sorted(used - defined)

"""The forms that data sets give their tests."""

import json
from typing import Any

import pytest

from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.verifiers.code.records import FunctionTests, StreamTests, first_called, read_tests, unknown_names

Record = dict[str, Any]
CASES = StreamTests((("3\n", "6\n"), ("4", "8")))
HUMAN_EVAL: Record = {
    "prompt": 'import math\n\ndef double(x):\n    """Twice x."""\n',
    "entry_point": "double",
    "tests": "def check(candidate):\n    assert candidate(3) == 6\n",
}


def read(record: Record, *, most: int = 16) -> StreamTests | FunctionTests:
    return read_tests(record, field_name="tests", most=most)


def functions(record: Record, *, most: int = 16) -> FunctionTests:
    tests = read(record, most=most)
    assert isinstance(tests, FunctionTests)
    return tests


@pytest.mark.parametrize(
    "tests",
    [
        [{"input": "3\n", "output": "6\n"}, {"input": "4", "output": "8"}],
        [{"input": "3\n", "output": "6\n", "testtype": "stdin"}, {"input": "4", "output": "8", "testtype": "stdin"}],
        {"inputs": ["3\n", "4"], "outputs": ["6\n", "8"]},
    ],
)
def test_rows_and_columns_are_inputs_and_outputs_also_as_a_string_of_json(tests: Any) -> None:
    assert read({"tests": tests}) == CASES
    assert read({"tests": json.dumps(tests)}) == CASES


def test_lines_may_be_a_list_and_only_the_first_tests_are_taken() -> None:
    tests = {"inputs": [["1", "2"], "3"], "outputs": [["5"], "6"]}

    assert read({"tests": tests}, most=1) == StreamTests((("1\n2", "5"),))


@pytest.mark.parametrize(
    "record",
    [
        {"tests": {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}},
        {"tests": [{"input": "1\n2", "output": "3"}], "fn_name": "add"},
        {"tests": [{"input": "1\n2", "output": "3", "testtype": "functional"}], "metadata": {"func_name": "add"}},
    ],
)
def test_a_function_s_name_makes_them_calls(record: Record) -> None:
    found = functions(record)

    assert found.names == {"candidate": "add"}
    assert found.tests == ("assert same(candidate(*[1, 2]), 3)",)


def test_tests_of_standard_input_are_not_calls_whatever_the_record_is_called() -> None:
    record = {"tests": [{"input": "1", "output": "2", "testtype": "stdin"}], "metadata": {"func_name": "add"}}

    assert read(record) == StreamTests((("1", "2"),))


def test_assertions_call_what_they_do_not_define() -> None:
    found = functions({"tests": ["assert f(1) == 2", "assert f(set([1])) == len('a')"]})

    assert found.names == {"f": "f"}
    assert found.tests == ("\nassert f(1) == 2", "assert f(set([1])) == len('a')")


def test_set_up_and_imports_of_a_record_come_first() -> None:
    record = {"tests": ["assert f(x)"], "test_imports": ["import math"], "test_setup_code": "x = Node(math.pi)"}
    found = functions(record)

    assert found.names == {"Node": "Node", "f": "f"}
    assert found.tests == ("import math\nx = Node(math.pi)\nassert f(x)",)


def test_a_function_called_like_one_of_python_s_own_is_found() -> None:
    assert functions({"tests": ["assert sum([1]) == 1"]}).names == {"sum": "sum"}
    assert first_called("assert x") == []


def test_humaneval_needs_its_entry_point() -> None:
    found = functions(HUMAN_EVAL)

    assert found.names == {"candidate": "double", "double": "double"}
    assert found.tests[0].endswith("check(candidate)\n")
    with pytest.raises(InvalidInput, match="entry_point, and the record's is 'None'"):
        read({**HUMAN_EVAL, "entry_point": None})
    with pytest.raises(InvalidInput, match="entry_point"):
        read({**HUMAN_EVAL, "entry_point": "x; import os"})


def test_a_program_is_the_rest_of_the_prompt_or_stands_alone_after_it() -> None:
    found = functions(HUMAN_EVAL)

    assert found.program("    return 2 * x\n") == HUMAN_EVAL["prompt"] + "    return 2 * x\n"
    whole = found.program("def double(x): return 2 * x")
    scope: Record = {}
    exec(whole, scope)
    assert scope["double"](3) == 6
    assert functions({"tests": ["assert f(1)"]}).program("x") == "x"


@pytest.mark.parametrize("tests", [None, "", [], {}, [1], [{"input": "1"}], "assert f(1)", {"inputs": "1"}])
def test_tests_in_no_known_form_are_the_records_fault_and_shown(tests: Any) -> None:
    with pytest.raises(InvalidInput, match=r"the record's field 'tests' is .*Name the field with code\.testsField"):
        read({"tests": tests})


def test_assertions_that_are_not_python_are_the_records_fault() -> None:
    with pytest.raises(InvalidInput, match="the record's tests are not Python"):
        read({"tests": ["assert f(1"]})


def test_names_are_unknown_when_nothing_defines_them() -> None:
    source = (
        "import a.b as c, d.e\nfrom f import g\nclass H: pass\ndef i(j): return j + k\nl = [m for m in n]\nc, d, g, H"
    )

    assert unknown_names(source) == ["k", "n"]

import pytest

from rlvr_trainer.verifiers.code.blocks import last_block


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("```py\nprint(1)\n```\nor\n```python3\nprint(2)\n```", "print(2)\n"),
        ("```python\nprint(1)\n```\nprints\n```\n1\n```", "print(1)\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("~~~python\nprint('```')\n~~~", "print('```')\n"),
        ("````python\n```\n````", "```\n"),
        ("  ```python\nx\n  ```", "x\n"),
        ("```Python\r\nx\r\n```", "x\r\n"),
        ("```bash\nls\n```", None),
        ("print(1)", None),
        ("", None),
    ],
)
def test_the_last_block_of_python_is_the_program(text: str, source: str | None) -> None:
    assert last_block(text) == source


@pytest.mark.parametrize(
    "text", ["```python\nprint(1)", "```python\nprint(1)\n```\nbetter:\n```python\nprint(", "```\nx"]
)
def test_a_program_that_was_not_finished_is_none(text: str) -> None:
    assert last_block(text) is None


def test_an_open_block_of_another_kind_does_not_matter() -> None:
    assert last_block("```python\nprint(1)\n```\n```text\nprints 1") == "print(1)\n"

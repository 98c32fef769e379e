import pytest

from rlvr_trainer.errors import TrainerError
from rlvr_trainer.samples import Outcome, Verdict
from rlvr_trainer.verifiers.http import read_verdict, retry_after


def test_one_verdict_is_read() -> None:
    data = b'{"verdicts": [{"id": "0", "outcome": "wrong", "score": 0.25, "reason": "half"}]}'

    assert read_verdict(data) == Verdict(outcome=Outcome.WRONG, score=0.25, reason="half")


def test_an_error_has_no_score() -> None:
    assert read_verdict(b'{"verdicts": [{"outcome": "error"}]}').score is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"verdicts": []}',
        b'{"verdicts": [{"outcome": "wrong", "score": 0}, {"outcome": "wrong", "score": 0}]}',
        b'{"verdicts": [{"outcome": "fine", "score": 1}]}',
    ],
)
def test_what_is_not_one_verdict_is_refused(data: bytes) -> None:
    with pytest.raises(TrainerError):
        read_verdict(data)


@pytest.mark.parametrize("verdict", [b'{"outcome": "error", "score": 0}', b'{"outcome": "correct"}'])
def test_scores_and_errors_exclude_each_other(verdict: bytes) -> None:
    with pytest.raises(TypeError, match="an error has no score"):
        read_verdict(b'{"verdicts": [' + verdict + b"]}")


def test_a_busy_service_says_when_to_ask_again() -> None:
    assert retry_after("3") == 3.0
    assert retry_after("99999") == 60.0
    assert retry_after(None) == 0.5
    assert retry_after("Fri, 31 Dec 2027 23:59:59 GMT") == 0.5

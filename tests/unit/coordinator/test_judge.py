"""What is asked of the reward service, and what its answers may be."""

import json
from typing import Any

import pytest

from builders import a_completion, a_prompt
from rlvr_trainer.coordinator.judge import Verdicts, read_verdicts, score_request
from rlvr_trainer.errors import TrainerError
from rlvr_trainer.samples import Finish, Group, Outcome, Verdict
from rlvr_trainer.wire import from_json


def read(reply: dict[str, Any], *, num_items: int) -> tuple[Verdict, ...]:
    return read_verdicts(from_json(json.dumps(reply), Verdicts), num_items=num_items)


def test_every_completion_is_an_item_with_its_task() -> None:
    group = Group(
        prompt=a_prompt(), completions=(a_completion(text="#2"), a_completion(finish=Finish.LENGTH, text=".."))
    )

    assert json.loads(json.dumps(score_request(group))) == {
        "items": [
            {"id": "0", "text": "#2", "finish": "stop", "task": {"answer": "2", "source": "test", "metadata": {}}},
            {"id": "1", "text": "..", "finish": "length", "task": {"answer": "2", "source": "test", "metadata": {}}},
        ]
    }


def test_verdicts_are_put_in_order_and_an_error_stays_one() -> None:
    late = {"id": "1", "outcome": "error", "score": None, "reason": "killed"}
    early = {"id": "0", "outcome": "correct", "score": 1, "reason": ""}

    assert read({"verdicts": [late, early]}, num_items=2) == (
        Verdict(outcome=Outcome.CORRECT, score=1.0),
        Verdict(outcome=Outcome.ERROR, score=None, reason="killed"),
    )


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"verdicts": []}, "gave no verdict for items 0 of 1"),
        ({"verdicts": [{"id": "0", "outcome": "error", "score": 0.0}]}, "is error with score 0.0"),
        ({"verdicts": [{"id": "0", "outcome": "wrong"}]}, "is wrong with score None"),
        ({"verdicts": [{"id": "0", "outcome": "perhaps", "score": 1}]}, "Invalid enum value 'perhaps'"),
        ({}, "missing required field `verdicts`"),
    ],
)
def test_a_reply_that_breaks_the_contract_is_an_error(reply: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainerError, match=message):
        read(reply, num_items=1)

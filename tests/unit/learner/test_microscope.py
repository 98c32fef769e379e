"""A step's answers under the microscope."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from learning import a_backend, a_completion, a_dealing, a_recipe, a_scored_group, random_facts, take
from rlvr_trainer.learner.microscope import Magnified, magnify, telling
from rlvr_trainer.learner.step import Method, Stage
from rlvr_trainer.samples import Outcome
from rlvr_trainer.wire import to_json

FACTS = random_facts(1, num_groups=3, group_size=6)


def seen_after(folder: Path, *, has_reference: bool, **spec: Any) -> tuple[Magnified, Stage]:
    reference = a_backend(folder) if has_reference else None
    method = Method(backend=a_backend(folder, sgd=True), recipe=a_recipe(**spec), reference=reference)
    findings = take(method, FACTS, a_dealing(epochs=2, token_budget=60), rate=0.05)
    return magnify(FACTS, findings.stage), findings.stage


@pytest.fixture(scope="module")
def archer(model_folder: Path) -> tuple[Magnified, Stage]:
    tight = {"clipHighEntropy": 0.002, "clipLowEntropy": 0.001}
    return seen_after(model_folder, has_reference=True, preset="archer", trustRegion={"archer": tight})


def test_two_groups_show_four_answers_each(archer: tuple[Magnified, Stage]) -> None:
    seen, _ = archer

    assert seen.step == 1 and len(seen.answers) == 8
    for group, answers in enumerate((seen.answers[:4], seen.answers[4:])):
        tokens = [one.token_ids.tolist() for one in FACTS.groups[group].group.completions]
        outcomes = [verdict.outcome.value for verdict in FACTS.groups[group].verdicts]
        for answer in answers:
            row = tokens.index([token.id for token in answer.tokens])
            assert answer.outcome == outcomes[row]


def test_every_token_has_what_the_step_knows_of_it(archer: tuple[Magnified, Stage]) -> None:
    seen, stage = archer
    row = telling(FACTS.groups[0])[0]

    first, answer = seen.answers[0].tokens[0], seen.answers[0]
    assert answer.advantage == first.advantage == float(stage.batch.advantage_B1[row])
    assert answer.reward == float(stage.batch.reward_PG[0, row])
    assert first.entropy == float(stage.start.entropy_BT[row, 0])
    assert first.probability == pytest.approx(math.exp(float(stage.start.logprob_BT[row, 0])))
    assert stage.trace.k3_BT is not None and first.k3 == float(stage.trace.k3_BT[row, 0])


def test_what_the_last_update_clipped_is_marked(archer: tuple[Magnified, Stage]) -> None:
    marks = [token.clipped for answer in archer[0].answers for token in answer.tokens]

    assert any(marks) and not all(marks)


def test_the_selected_tokens_are_marked_and_there_is_no_divergence_without_a_reference(model_folder: Path) -> None:
    seen, stage = seen_after(model_folder, has_reference=False, preset="highEntropy20")
    row = telling(FACTS.groups[1])[0]

    tokens = seen.answers[4].tokens
    assert [token.selected for token in tokens] == stage.choice.selected_BT[row + 6, : len(tokens)].tolist()
    assert {token.k3 for token in tokens} == {None}


def test_the_file_is_plain_json(archer: tuple[Magnified, Stage]) -> None:
    token = json.loads(to_json(archer[0]))["answers"][0]["tokens"][0]

    assert set(token) == {"id", "entropy", "selected", "clipped", "probability", "advantage", "k3"}


@pytest.mark.parametrize(
    ("outcomes", "chosen"),
    [
        ("RRRRWWWW", [0, 1, 4, 5]),
        ("WRRRRRRR", [0, 1, 2, 3]),
        ("WWWWWWWR", [0, 1, 2, 7]),
        ("RRRRRRRR", [0, 1, 2, 3]),
        ("WWWW", [0, 1, 2, 3]),
        ("RW", [0, 1]),
    ],
)
def test_right_and_wrong_answers_share_the_view(outcomes: str, chosen: list[int]) -> None:
    words = [Outcome.CORRECT if letter == "R" else Outcome.WRONG for letter in outcomes]

    assert telling(a_scored_group(0, [a_completion([1])] * len(words), words)) == chosen

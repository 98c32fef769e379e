"""From judged groups to a file of facts."""

from collections.abc import Sequence
from pathlib import Path

from builders import a_scored_group, an_evaluation
from rlvr_trainer.coordinator.batches import Closing, close, hand_over, with_evaluation
from rlvr_trainer.coordinator.produce import Produced
from rlvr_trainer.samples import CoordinatorState, Dropped, Fate, Ledger, Outcome, StepFacts, Transcript
from rlvr_trainer.wire import unpack

CLOSING = Closing(step=4, policy_step=3, seconds=2.5)
BEFORE = CoordinatorState(
    ledger=Ledger(watermark=10, counts={Fate.TRAINED: 10}), generated_tokens=100, wall_seconds=10.0
)


def produced(*fates: Fate, start: int = 10) -> Sequence[Produced]:
    return [Produced(scored=a_scored_group(start + n), fate=fate) for n, fate in enumerate(fates)]


def test_facts_hold_the_groups_that_count_and_the_state_after_the_step() -> None:
    facts = close(produced(Fate.FLAT, Fate.TRAINED, Fate.ERROR, Fate.TRAINED), closing=CLOSING, state=BEFORE)

    assert [scored.group.prompt.position for scored in facts.groups] == [11, 13]
    assert (facts.step, facts.policy_step, facts.produce_seconds) == (4, 3, 2.5)
    assert [(one.position, one.fate) for one in facts.dropped] == [(10, Fate.FLAT), (12, Fate.ERROR)]
    assert facts.state.ledger == Ledger(watermark=14, counts={Fate.TRAINED: 12, Fate.FLAT: 1, Fate.ERROR: 1})
    assert (facts.num_judged, facts.num_correct) == (8, 4)
    assert (facts.state.generated_tokens, facts.state.wall_seconds) == (100 + 4 * 2 * 2, 12.5)


def test_a_batch_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    hand_over(close(produced(Fate.TRAINED, Fate.FLAT), closing=CLOSING, state=BEFORE), folder=tmp_path)

    facts = unpack((tmp_path / "000004.facts").read_bytes(), StepFacts)

    completion = facts.groups[0].group.completions[0]
    assert (completion.token_ids.tolist(), completion.logprobs.tolist()) == ([4, 1], [-0.5, -0.5])
    assert facts.dropped == (Dropped(position=11, fate=Fate.FLAT, num_correct=1, num_judged=2),)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_dropped_group_says_how_much_of_it_was_right() -> None:
    broken = a_scored_group(10, outcomes=(Outcome.CORRECT, Outcome.ERROR, Outcome.WRONG))
    groups = [Produced(scored=broken, fate=Fate.ERROR), *produced(Fate.TRAINED, start=11)]

    facts = close(groups, closing=CLOSING, state=BEFORE)

    assert facts.dropped == (Dropped(position=10, fate=Fate.ERROR, num_correct=1, num_judged=2),)


def test_old_batches_are_forgotten(tmp_path: Path) -> None:
    for step in range(1, 12):
        closing = Closing(step=step, policy_step=step - 1, seconds=1.0)
        hand_over(close(produced(Fate.TRAINED), closing=closing, state=BEFORE), folder=tmp_path)

    assert sorted(path.stem for path in tmp_path.iterdir()) == [f"{step:06d}" for step in range(4, 12)]


def test_only_the_first_and_the_newest_evaluation_keep_transcripts() -> None:
    said = (Transcript(question="1+1=", expected="2", completion="2", outcome=Outcome.CORRECT),)
    state = CoordinatorState()
    for step in (0, 5, 10):
        evaluation = an_evaluation(step, transcripts=said)
        state = with_evaluation(state, evaluation)

    assert [(e.step, len(e.transcripts)) for e in state.evaluations] == [(0, 1), (5, 0), (10, 1)]

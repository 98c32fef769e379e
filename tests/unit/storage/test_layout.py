from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.storage.layout import READY, Stored, checkpoint_name, expendable, step_of, survey
from rlvr_trainer.storage.store import Entry


def stored(step: int, *, complete: bool = True) -> Stored:
    return Stored(step, {"model.safetensors": 1, **({READY: 64} if complete else {})})


def test_a_listing_becomes_checkpoints_oldest_first() -> None:
    keys = ["step-000020/READY", "step-000020/a", "step-000003/sub/b", "latest", "notes/step-000001", ".write-check"]

    found = survey(Entry(key, 7) for key in keys)

    assert [(item.step, dict(item.sizes), item.is_complete) for item in found] == [
        (3, {"sub/b": 7}, False),
        (20, {"READY": 7, "a": 7}, True),
    ]


@given(st.integers(min_value=0, max_value=10**9))
def test_a_name_gives_back_its_step(step: int) -> None:
    assert step_of(checkpoint_name(step)) == step


def test_other_folders_have_no_step() -> None:
    assert [step_of(name) for name in ("latest", "step-1", "step-000001.tmp", "xstep-000001")] == [None] * 4


def test_the_newest_few_stay_and_older_ones_go() -> None:
    assert expendable([stored(step) for step in (1, 2, 3, 4)], newest=4, keep=2) == (1, 2)


def test_a_partial_checkpoint_goes_once_a_newer_one_is_ready() -> None:
    assert expendable([stored(1, complete=False), stored(2)], newest=2, keep=3) == (1,)


def test_checkpoints_of_a_run_that_went_further_are_left_alone() -> None:
    others = [stored(80), stored(90, complete=False), stored(100)]

    assert expendable([stored(5), stored(10), *others], newest=10, keep=1) == (5,)


@given(st.dictionaries(st.integers(0, 50), st.booleans()), st.integers(min_value=0, max_value=50), st.integers(1, 5))
def test_the_newest_complete_checkpoint_is_never_expendable(steps: dict[int, bool], newest: int, keep: int) -> None:
    folders = [stored(step, complete=complete) for step, complete in sorted({**steps, newest: True}.items())]

    gone = expendable(folders, newest=newest, keep=keep)

    left = [item.step for item in folders if item.step not in gone and item.is_complete and item.step <= newest]
    assert newest in left
    assert len(left) <= keep

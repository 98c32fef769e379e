import pytest

from rlvr_trainer.rollout.standing import Standing, State

L = "3-aaaaaaaaaaaa"


@pytest.mark.parametrize(
    ("standing", "state", "version"),
    [
        (Standing(), State.JOINING, None),
        (Standing(seen="default"), State.JOINING, None),
        (Standing(seen=L), State.JOINING, None),
        (Standing(installed=L, seen=L), State.READY, L),
        (Standing(installed=L, seen="default"), State.JOINING, None),
        (Standing(installed=L, seen=None), State.JOINING, None),
        (Standing(installed=L, seen=L, is_updating=True), State.UPDATING, L),
        (Standing(seen="default", is_updating=True), State.UPDATING, None),
        (Standing(installed=L, seen=L, is_dirty=True), State.DIRTY, None),
    ],
    ids=str,
)
def test_a_version_is_known_only_when_we_installed_it_and_the_engine_confirms_it(
    standing: Standing, state: State, version: str | None
) -> None:
    assert (standing.state, standing.version) == (state, version)

"""Where rollouts and rewards are, also those that come later."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from engine_fakes import eventually
from rlvr_trainer.errors import InvalidInput, TrainerError
from rlvr_trainer.peers import PEERS_FILE, Peers, keep_all, peers_of
from rlvr_trainer.surroundings import Surroundings

TOLD = Peers(rollouts=("http://a",), rewards=("http://b",))


def a_place(folder: Path, *, told: Peers = TOLD) -> Surroundings:
    return Surroundings(
        job=folder / "job.json",
        folder=folder,
        token_file=folder / "token",
        rollouts=told.rollouts,
        rewards=told.rewards,
    )


def write_peers(folder: Path, *rollouts: str, rewards: tuple[str, ...] = ("http://judge",)) -> None:
    """Replace the list as a kubelet does."""
    draft = folder / "draft"
    draft.write_text(json.dumps({"rollouts": rollouts, "rewards": rewards}))
    draft.replace(folder / PEERS_FILE)


def test_on_one_machine_the_environment_says_who_is_there(tmp_path: Path) -> None:
    assert peers_of(a_place(tmp_path))() == TOLD


def test_in_a_pod_the_file_beside_the_job_does_and_is_read_again_when_it_is_replaced(tmp_path: Path) -> None:
    write_peers(tmp_path, "http://r0")
    ask = peers_of(a_place(tmp_path))
    assert ask() == Peers(rollouts=("http://r0",), rewards=("http://judge",))

    write_peers(tmp_path, "http://r0", "http://r1")

    assert ask().rollouts == ("http://r0", "http://r1")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Peers(rollouts=(), rewards=("http://b",)), "no rollout is named in .* or RLVR_ROLLOUTS"),
        (Peers(rollouts=("http://a",), rewards=()), "no reward is named in .* or RLVR_REWARDS"),
    ],
)
def test_a_job_without_one_of_either_is_refused(told: Peers, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=words):
        peers_of(a_place(tmp_path, told=told))


class Keeper:
    """Remembers whom it looks after."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    async def keep(self, url: str) -> NoReturn:
        self.kept.append(url)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


async def test_every_rollout_is_kept_once_and_one_that_comes_later_too() -> None:
    there, keeper = [Peers(rollouts=("a", "b"), rewards=())], Keeper()
    keeping = asyncio.create_task(keep_all(lambda: there[0], keeper, seconds=0.01))
    await until_kept(keeper, ["a", "b"])

    there[0] = Peers(rollouts=("b", "c"), rewards=())

    await until_kept(keeper, ["a", "b", "c"])
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


async def until_kept(keeper: Keeper, urls: list[str]) -> None:
    async def holds() -> bool:
        return keeper.kept == urls

    await eventually(holds)


async def test_a_list_that_cannot_be_read_any_more_ends_the_keeping(tmp_path: Path) -> None:
    write_peers(tmp_path, "http://r0")
    ask = peers_of(a_place(tmp_path))
    (tmp_path / "draft").write_text("{")
    (tmp_path / "draft").replace(tmp_path / PEERS_FILE)

    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(keep_all(ask, Keeper(), seconds=0.01), 5)

    assert isinstance(caught.value.exceptions[0], TrainerError)

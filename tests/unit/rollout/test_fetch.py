from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from engine_fakes import FakePolicies, served_policies
from rlvr_trainer.errors import CorruptArtifact, TrainerError, Unavailable
from rlvr_trainer.rollout.fetch import fetch_policy, remove_partial
from rlvr_trainer.storage.policies import verify_policy


@pytest.fixture
async def policies(tmp_path: Path) -> AsyncIterator[FakePolicies]:
    async with served_policies(tmp_path / "published") as served:
        yield served


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def fetch(session: aiohttp.ClientSession, policies: FakePolicies, label: str, into: Path) -> Path:
    return await fetch_policy(session, label=label, url=f"{policies.url}/{label}", policies=into)


async def test_a_policy_arrives_whole_under_its_label(
    session: aiohttp.ClientSession, policies: FakePolicies, tmp_path: Path
) -> None:
    label = policies.publish(4)

    folder = await fetch(session, policies, label, tmp_path)

    assert folder == tmp_path / label
    verify_policy(folder)
    assert (folder / "model.safetensors").read_bytes() == b"weights 4"


async def test_the_files_of_a_folder_within_arrive_too(
    session: aiohttp.ClientSession, policies: FakePolicies, tmp_path: Path
) -> None:
    label = policies.publish(4, files={"model.safetensors": b"weights", "adapter/adapter_model.safetensors": b"A, B"})

    folder = await fetch(session, policies, label, tmp_path)

    verify_policy(folder)
    assert (folder / "adapter" / "adapter_model.safetensors").read_bytes() == b"A, B"


async def test_a_policy_that_is_there_is_not_fetched_again(
    session: aiohttp.ClientSession, policies: FakePolicies, tmp_path: Path
) -> None:
    label = policies.publish(4)
    await fetch(session, policies, label, tmp_path)
    policies.served.clear()

    await fetch(session, policies, label, tmp_path)

    assert policies.served == []


async def test_a_policy_that_spoiled_on_disk_is_fetched_again(
    session: aiohttp.ClientSession, policies: FakePolicies, tmp_path: Path
) -> None:
    label = policies.publish(4)
    folder = await fetch(session, policies, label, tmp_path)
    (folder / "model.safetensors").write_bytes(b"weights 5")

    verify_policy(await fetch(session, policies, label, tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
async def test_changed_bytes_are_refused_and_leave_no_folder(
    session: aiohttp.ClientSession, policies: FakePolicies, tmp_path: Path, name: str
) -> None:
    label = policies.publish(4)
    policies.spoiled.add(name)

    with pytest.raises(CorruptArtifact, match=name):
        await fetch(session, policies, label, tmp_path)

    assert not (tmp_path / label).exists()


@pytest.mark.parametrize(("status", "error"), [(404, TrainerError), (503, Unavailable)])
async def test_a_refusal_is_told_apart_from_an_outage(
    session: aiohttp.ClientSession, policies: FakePolicies, tmp_path: Path, status: int, error: type[TrainerError]
) -> None:
    label = policies.publish(4)
    policies.status = status

    with pytest.raises(error) as raised:
        await fetch(session, policies, label, tmp_path)

    assert isinstance(raised.value, Unavailable) == (error is Unavailable)


async def test_a_coordinator_that_is_away_is_unavailable(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="127"):
        await fetch_policy(session, label="1-aaaaaaaaaaaa", url="http://127.0.0.1:9/x", policies=tmp_path)


def test_what_an_earlier_process_left_unfinished_is_removed(tmp_path: Path) -> None:
    for name in ("3-aaaaaaaaaaaa", "4-aaaaaaaaaaaa.partial"):
        (tmp_path / name).mkdir()

    remove_partial(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["3-aaaaaaaaaaaa"]

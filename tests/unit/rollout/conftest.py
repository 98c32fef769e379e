from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from engine_fakes import TOKEN, Caller, Door, FakePolicies, a_door, served_policies


@pytest.fixture
async def policies(tmp_path: Path) -> AsyncIterator[FakePolicies]:
    async with served_policies(tmp_path / "published") as served:
        yield served


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path / "policies", max_in_flight=2) as opened:
        yield opened


@pytest.fixture
async def caller(door: Door, policies: FakePolicies) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        yield Caller(session, door, policies)

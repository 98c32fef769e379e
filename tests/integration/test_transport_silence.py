"""Peers whose machine is gone without a word are told from busy ones.  Needs root and `ip`: a network namespace."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from rlvr_trainer.errors import Unavailable
from rlvr_trainer.transport import Client, open_client

SERVER = """
import asyncio, aiohttp.web as web
async def answer(request):
    await asyncio.sleep(float(request.match_info["seconds"]))
    return web.json_response("done")
app = web.Application()
app.router.add_get("/{seconds}", answer)
web.run_app(app, host="0.0.0.0", port=8000, print=lambda *_: print("up", flush=True))
"""
KEPT, LOST = ("198.18.7.1", "198.18.7.2"), ("198.18.8.1", "198.18.8.2")
"""Two lines to the other side, with the address of either end; from a range for such trials (RFC 2544)."""
BUSY_SECONDS = 22.0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A network namespace with a server in it."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2 for a network namespace")
    name = f"rlvr{os.getpid()}"
    ip("netns", "add", name)
    for number, (here, there) in enumerate((KEPT, LOST)):
        ours, theirs = f"{name}{number}", f"there{number}"
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        ip("address", "add", f"{here}/30", "dev", ours)
        ip("-n", name, "address", "add", f"{there}/30", "dev", theirs)
        ip("link", "set", ours, "up")
        ip("-n", name, "link", "set", theirs, "up")
    command = ["ip", "netns", "exec", name, sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        yield name
        server.kill()
    for number in range(2):
        ip("link", "delete", f"{name}{number}")
    ip("netns", "delete", name)


async def seconds_until_lost(client: Client, name: str) -> float:
    asked = asyncio.create_task(client.once("GET", f"http://{LOST[1]}:8000/600", None, timeout=600))
    await asyncio.sleep(1)
    ip("-n", name, "link", "set", "there1", "down")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="failed"):
        await asked
    return time.monotonic() - began


async def test_a_peer_that_is_gone_without_a_word_is_given_up_and_one_that_is_busy_is_not(elsewhere: str) -> None:
    async with open_client(token=None) as client:
        busy = client.once("GET", f"http://{KEPT[1]}:8000/{BUSY_SECONDS}", None, timeout=60)
        lost_after, answer = await asyncio.gather(seconds_until_lost(client, elsewhere), busy)

    assert lost_after < BUSY_SECONDS
    assert answer == "done"

"""Fetch a policy from the coordinator to this node's disk, checked against its label.

The label carries the hash of the manifest and the manifest the hash of every file, so what is installed is what was
published.  A folder appears under its label only when whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import Final

import aiohttp

from rlvr_trainer.errors import CorruptArtifact, TrainerError, Unavailable
from rlvr_trainer.storage.digests import FileFact
from rlvr_trainer.storage.policies import MANIFEST, READY, read_manifest, verify_policy

_CHUNK_BYTES: Final = 4 * 2**20
_PARTIAL: Final = ".partial"
_LIMITS: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)


async def fetch_policy(session: aiohttp.ClientSession, *, label: str, url: str, policies: Path) -> Path:
    """The folder of policy `label`, downloaded from `url` unless it is already there and whole.

    CorruptArtifact when bytes differ from what the label promises; Unavailable when `url` does not answer.
    """
    folder = policies / label
    if await asyncio.to_thread(_is_whole, folder):
        return folder
    partial = policies / (label + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    manifest = await _read(session, f"{url}/{MANIFEST}")
    for name, promised in read_manifest(manifest, label=label).items():
        await _download(session, f"{url}/{name}", partial / name, promised)
    (partial / MANIFEST).write_bytes(manifest)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    (folder / READY).touch()
    return folder


def remove_partial(policies: Path) -> None:
    """Delete what an earlier process left unfinished."""
    for partial in policies.glob(f"*{_PARTIAL}"):
        shutil.rmtree(partial, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    if not (folder / READY).exists():
        return False
    try:
        verify_policy(folder)
    except CorruptArtifact:
        return False
    return True


async def _read(session: aiohttp.ClientSession, url: str) -> bytes:
    try:
        async with session.get(url, timeout=_LIMITS) as reply:
            _expect_ok(reply, url)
            return await reply.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"GET {url} failed: {type(error).__name__}: {error}") from error


async def _download(session: aiohttp.ClientSession, url: str, path: Path, promised: FileFact) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        async with session.get(url, timeout=_LIMITS) as reply:
            _expect_ok(reply, url)
            with path.open("wb") as file:
                async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
                    await asyncio.to_thread(digest.update, chunk)
                    await asyncio.to_thread(file.write, chunk)
                    size += len(chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"GET {url} failed: {type(error).__name__}: {error}") from error
    if FileFact(size, digest.hexdigest()) != promised:
        raise CorruptArtifact(
            f"{url}: got {size} bytes with sha256 {digest.hexdigest()[:12]}..., the manifest promises "
            f"{promised.bytes} with {promised.sha256[:12]}...; it is fetched again when the policy is sent again."
        )


def _expect_ok(reply: aiohttp.ClientResponse, url: str) -> None:
    if reply.status >= 500:
        raise Unavailable(f"GET {url} answered {reply.status}")
    if reply.status != 200:
        raise TrainerError(f"GET {url} answered {reply.status}; is the policy still published?")

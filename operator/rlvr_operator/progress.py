"""Ask the coordinators of running jobs how far they are; a coordinator that does not answer is unknown, never at zero.

One question every 15 to 30 s and job, spread by chance, two seconds for the answer.  Jobs never wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from rlvr_api import Progress, contract
from rlvr_operator.cluster.cache import Key
from rlvr_operator.cluster.client import Client
from rlvr_operator.cluster.resources import SERVICE_ACCOUNTS
from rlvr_operator.errors import OperatorError
from rlvr_operator.observed import JobSeen, PodSeen, ProgressSeen

log = logging.getLogger(__name__)
ANSWER_SECONDS: Final = 2.0
_TOKEN_SECONDS: Final = 3600
_MOST_BYTES: Final = 1 << 20

TokenSource = Callable[[str], Awaitable[str]]
"""A bearer token for the job of that uid."""


class ServiceAccountTokens:
    """The operator's own tokens, one per job because its uid is the audience; kept for 80% of their life."""

    def __init__(
        self, client: Client, *, namespace: str, account: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._account = account
        self._clock = clock
        self._tokens: dict[str, tuple[str, float]] = {}

    async def __call__(self, uid: str) -> str:
        token, renew_at = self._tokens.get(uid, ("", 0.0))
        if self._clock() >= renew_at:
            self._tokens = {known: it for known, it in self._tokens.items() if it[1] > self._clock()}
            token = await self._ask(uid)
            self._tokens[uid] = (token, self._clock() + 0.8 * _TOKEN_SECONDS)
        return token

    async def _ask(self, uid: str) -> str:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [uid], "expirationSeconds": _TOKEN_SECONDS},
        }
        answer = await self._client.create_sub(
            SERVICE_ACCOUNTS, self._account, "token", namespace=self._namespace, body=body
        )
        return str(answer["status"]["token"])


def token_from_file(path: Path) -> TokenSource:
    """The same token for every job, read each time."""

    async def read(_uid: str) -> str:
        return path.read_text().strip()  # noqa: ASYNC240 - one line from a local file

    return read


@dataclass(slots=True)
class _Followed:
    """One job whose coordinator is asked."""

    uid: str
    address: str
    since: float
    task: asyncio.Task[None]


class Coordinators:
    """What the coordinators of running jobs said last."""

    def __init__(
        self,
        token: TokenSource,
        heard: Callable[[Key], None],
        *,
        between: tuple[float, float] = (15.0, 30.0),
        port: int = contract.PORT_COORDINATOR,
        count: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        self._token = token
        self._ring = heard
        self._between = between
        self._port = port
        self._count = count
        self._followed: dict[Key, _Followed] = {}
        self._heard: dict[Key, ProgressSeen] = {}
        self._session: aiohttp.ClientSession | None = None

    def follow(self, key: Key, job: JobSeen, pods: Iterable[PodSeen]) -> None:
        """Ask the coordinator beside the first learner while there is one."""
        address = next((pod.address for pod in pods if _has_coordinator(pod, job)), "")
        known = self._followed.get(key)
        if known is not None and (known.uid, known.address) == (job.uid, address):
            return
        self._stop(key)
        if known is not None and known.uid != job.uid:
            self._heard.pop(key, None)
        if address:
            task = asyncio.create_task(self._ask_for_ever(key, job.uid, address))
            self._followed[key] = _Followed(job.uid, address, time.time(), task)

    def forget(self, key: Key) -> None:
        self._stop(key)
        self._heard.pop(key, None)

    def heard(self, key: Key) -> ProgressSeen | None:
        return self._heard.get(key)

    def listening_since(self, key: Key) -> float | None:
        """Since when the present coordinator is asked; None while there is none."""
        known = self._followed.get(key)
        return None if known is None else known.since

    async def close(self) -> None:
        """Stop asking; what was heard is forgotten."""
        for key in list(self._followed):
            self._stop(key)
        self._heard.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _stop(self, key: Key) -> None:
        known = self._followed.pop(key, None)
        if known is not None:
            known.task.cancel()

    async def _ask_for_ever(self, key: Key, uid: str, address: str) -> None:
        least, most = self._between
        pause = random.uniform(0, least)
        while True:
            await asyncio.sleep(pause)
            progress = await self._ask(uid, address)
            self._count("unknown" if progress is None else "heard")
            if progress is not None:
                self._heard[key] = ProgressSeen(progress=progress, heard_at=time.time())
                self._ring(key)
            pause = random.uniform(least, most)

    async def _ask(self, uid: str, address: str) -> Progress | None:
        host = f"[{address}]" if ":" in address else address
        try:
            headers = {"Authorization": f"Bearer {await self._token(uid)}"}
            async with self._open_session().get(f"http://{host}:{self._port}/progress", headers=headers) as answer:
                answer.raise_for_status()
                return Progress.model_validate_json(await _body(answer), by_alias=True)
        except (aiohttp.ClientError, TimeoutError, OSError, OperatorError, ValueError) as error:
            log.debug("coordinator at %s: %s", address, error or type(error).__name__)
            return None

    def _open_session(self) -> aiohttp.ClientSession:
        """Made inside the loop, at the first question."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True))
        return self._session


def _has_coordinator(pod: PodSeen, job: JobSeen) -> bool:
    is_first = pod.role == "learner" and pod.index == 0 and pod.attempt == job.status.attempt
    return is_first and pod.phase == "Running" and bool(pod.address) and not pod.is_terminating


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """A job's code is not ours: it cannot make us read without end."""
    body = b""
    async for data in answer.content.iter_any():
        body += data
        if len(body) > _MOST_BYTES:
            raise ValueError(f"the answer is longer than {_MOST_BYTES} bytes")
    return body

"""The coordinator's neighbours, in process: rollouts, a reward service and a learner that keep to the contract.

They have no opinions of their own; a test gives them faults and reads what they saw.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from rlvr_trainer.coordinator.exchange import Policy, Resume
from rlvr_trainer.samples import CoordinatorState, StepFacts, StepReport
from rlvr_trainer.storage.policies import seal_policy
from rlvr_trainer.transport import serving
from rlvr_trainer.wire import to_json, unpack

TOKEN = "secret"


def a_token_file(folder: Path) -> Path:
    """Where a process reads the token that it shows to others."""
    path = folder / "token"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(TOKEN)
    return path


END, FIRST_DIGIT = 1, 4  # of the arithmetic model's tokenizer: <eos> and 0


def write_answer(seed: int) -> list[int]:
    """The tokens of one completion: a function of its seed alone, as a batch-invariant engine promises."""
    chance = random.Random(seed)
    return [FIRST_DIGIT + chance.randrange(10) for _ in range(chance.randint(1, 5))] + [END]


def choice_of(index: int, *, seed: int, label: str) -> dict[str, Any]:
    tokens = write_answer(seed + index)
    return {
        "index": index,
        "token_ids": tokens,
        "finish_reason": "stop",
        "logprobs": {"content": [{"token_id": token, "logprob": -0.5, "top_logprobs": []} for token in tokens]},
        "weight_versions": [{"version": label, "start": 0, "end": len(tokens)}],
    }


@dataclass
class FakeRollout:
    """An agent with an engine that answers after `seconds`."""

    seconds: float = 0.0
    label: str | None = None
    busy: int = 0
    """So many generation requests are answered 503 next."""
    refusals: int = 0
    """So many are refused with 400 next."""
    foreign_label: str = ""
    """Written on the next group instead of the true one, once."""
    labels: list[str] = field(default_factory=list)
    """Every policy it was moved to."""
    seeds: list[int] = field(default_factory=list)
    """Of every group asked for."""
    manifests: list[dict[str, Any]] = field(default_factory=list)
    """What it fetched."""
    is_silent: bool = False
    """Accepts requests and never answers."""
    _connections: set[asyncio.Transport] = field(default_factory=set)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/status", self.status)
        app.router.add_post("/policy", self.policy)
        app.router.add_post("/inference/v1/generate", self.generate)
        return app

    def cut_off(self) -> None:
        """Reset the connection of every group in flight, as a process that is killed does."""
        for connection in self._connections:
            connection.abort()

    async def status(self, _: web.Request) -> web.Response:
        await self._hang_if_silent()
        return web.json_response({"version": self.label, "state": "ready" if self.label else "joining"})

    async def policy(self, request: web.Request) -> web.Response:
        body = await request.json()
        headers = {"Authorization": request.headers["Authorization"]}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{body['url']}/manifest.json") as reply,
        ):
            self.manifests.append(await reply.json())
        self.label = body["label"]
        self.labels.append(body["label"])
        return web.json_response({"label": self.label, "fetchSeconds": 0.0, "pauseSeconds": 0.0})

    async def generate(self, request: web.Request) -> web.Response:
        sampling, label = (await request.json())["sampling_params"], self.label
        if self.busy:
            self.busy -= 1
            return web.json_response({"error": "paused"}, status=503)
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"error": "no such parameter"}, status=400)
        self.seeds.append(sampling["seed"])
        assert isinstance(request.transport, asyncio.Transport)
        self._connections.add(request.transport)
        await asyncio.sleep(self.seconds)
        await self._hang_if_silent()
        self._connections.discard(request.transport)
        written_by, self.foreign_label = self.foreign_label or str(label), ""
        choices = [choice_of(index, seed=sampling["seed"], label=written_by) for index in range(sampling["n"])]
        return web.json_response({"request_id": "r", "choices": choices})

    async def _hang_if_silent(self) -> None:
        while self.is_silent:  # noqa: ASYNC110 - a test sets it
            await asyncio.sleep(0.01)


class Mortal:
    """A server that can be killed and started again at the same address."""

    def __init__(self, make_app: Callable[[], web.Application], *, port: int = 0) -> None:
        self._make_app = make_app
        self._port = port
        self._life = AsyncExitStack()

    async def start(self) -> str:
        url = await self._life.enter_async_context(serving(self._make_app(), host="127.0.0.1", port=self._port))
        self._port = int(url.rpartition(":")[2])
        return url

    async def kill(self) -> None:
        await self._life.aclose()


@dataclass
class FakeReward:
    """Judges by `judge`; answers 503 the first `busy` times."""

    judge: Callable[[dict[str, Any]], dict[str, Any]]
    busy: int = 0
    num_items: int = 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/score", self.score)
        return app

    async def score(self, request: web.Request) -> web.Response:
        if self.busy:
            self.busy -= 1
            return web.json_response({"error": "starting"}, status=503)
        items = (await request.json())["items"]
        self.num_items += len(items)
        return web.json_response({"verdicts": [{"id": item["id"], **self.judge(item)} for item in items]})


def by_first_digit(item: dict[str, Any]) -> dict[str, Any]:
    """Right when the first digit is even: about one group of four in eight is flat."""
    is_right = int(item["text"][0]) % 2 == 0
    return {"outcome": "correct" if is_right else "wrong", "score": float(is_right), "reason": ""}


@dataclass
class FakeLearner:
    """Trains by waiting; keeps every batch it took and every state it committed."""

    folder: Path
    attempt: int = 0
    seconds: float = 0.0
    facts: list[StepFacts] = field(default_factory=list)

    @property
    def attempt_folder(self) -> Path:
        return self.folder / "attempts" / f"a{self.attempt:03d}"

    async def train(self, *, steps: int, after: int = 0, state: CoordinatorState | None = None) -> None:
        """Publish where to begin, then turn batches into policies up to `steps`."""
        self.write("policy.json", Policy(step=after, label=self.publish(after)))
        self.write("resume.json", Resume(step=after, state=state or CoordinatorState()))
        for step in range(after + 1, steps + 1):
            path = self.attempt_folder / "batches" / f"{step:06d}.facts"
            while not path.exists():  # noqa: ASYNC110 - another party writes it
                await asyncio.sleep(0.002)
            self.facts.append(unpack(path.read_bytes(), StepFacts))
            await asyncio.sleep(self.seconds)
            metrics = {"rlvr_learner_reward_mean": float(step)}
            report = StepReport(step=step, metrics=metrics, trained=(), finished_at=0.0)
            self.write(f"reports/{step:06d}.json", report)
            self.write("policy.json", Policy(step=step, label=self.publish(step)))

    def publish(self, step: int) -> str:
        draft = self.folder / "policies" / ".draft"
        draft.mkdir(parents=True)
        (draft / "weights").write_text(f"weights of step {step}")
        return seal_policy(draft, step=step)

    def write(self, name: str, record: Any) -> None:
        path = self.attempt_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_bytes(to_json(record))
        draft.replace(path)


@asynccontextmanager
async def running(*apps: web.Application) -> AsyncIterator[Sequence[str]]:
    """All apps, each at a port of its own."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(app, host="127.0.0.1", port=0)) for app in apps]

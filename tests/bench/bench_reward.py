r"""The reward service with the `math` verifier against math-verify in a plain loop, on as many cores.

COMPLETIONS long texts whose boxed answers need algebra (polynomials, roots, fractions of them), in groups of 8 to one
reference, half of them right.  Rounds alternate: math-verify alone, our verifier without a service, and the service
over HTTP, each in WORKERS processes, as many as there are cores; the service's own process, in which the client is too,
has no core of its own.  Figures are medians.  A group's seconds are those of its request while others
wait beside it.  The last line is one JSON object; `rateRatio` is the service's rate to math-verify's per core.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import logging
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from rlvr_api.reward import MathVerifier, RewardSpec, VerifierSpec
from rlvr_trainer.metrics import Board
from rlvr_trainer.reward.pool import open_pool
from rlvr_trainer.reward.service import limits_of, reward_app, setup_of
from rlvr_trainer.samples import Task
from rlvr_trainer.transport import Client, open_client, serving
from rlvr_trainer.verifiers import mathematics
from rlvr_trainer.verifiers.verdicts import Verifier

GROUP = 8
DEADLINE_SECONDS = 10.0
_MOST_AT_ONCE = 16
"""Groups that are asked about at the same time."""
Pair = tuple[str, str]
"""Reference answer and completion."""


def completions(count: int, *, seed: int) -> list[Pair]:
    """Groups of texts of some 2,000 characters; every second answer is another than the reference."""
    draw, pairs = random.Random(seed), list[Pair]()
    while len(pairs) < count:
        a, b, c = (draw.randint(2, 97) for _ in range(3))
        reference = f"{a}x^2 + {b}x + \\sqrt{{{c}}}"
        for index in range(GROUP):
            shift = index % 2
            answer = f"\\sqrt{{{c}}} + x({a}x + {b + shift})"
            prose = " ".join(f"then we get ${draw.randint(0, 99)}y + {draw.randint(0, 99)}$" for _ in range(70))
            pairs.append((reference, f"{prose}\nso \\boxed{{{answer}}}."))
    return pairs[:count]


def by_library(pairs: Sequence[Pair]) -> list[bool]:
    from math_verify import parse, verify  # noqa: PLC0415 - in the process that uses it

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that nothing guards it

    def right(reference: str, text: str) -> bool:
        gold = parse(f"\\boxed{{{reference}}}", parsing_timeout=None)
        return bool(verify(gold, parse(text, parsing_timeout=None), timeout_seconds=None))

    return [right(*pair) for pair in pairs]


def by_verifier(pairs: Sequence[Pair]) -> list[bool]:
    return [_made()(Task(answer=reference), text).is_correct for reference, text in pairs]


@functools.cache
def _made() -> Verifier:
    return mathematics.make(MathVerifier())


def timed(judge: Callable[[Sequence[Pair]], list[bool]], pairs: Sequence[Pair], *, workers: int) -> Round:
    """Groups dealt out to processes that have the library loaded; completions a second of all of them."""
    groups = [pairs[at : at + GROUP] for at in range(0, len(pairs), GROUP)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(judge, [completions(2, seed=-1)] * workers * 4))
        began = time.perf_counter()
        verdicts = list(pool.map(judge, groups))
        seconds = time.perf_counter() - began
    return Round(rate=len(pairs) / seconds, verdicts=[verdict for group in verdicts for verdict in group], waits=[])


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over all completions."""

    rate: float
    verdicts: list[bool]
    waits: list[float]
    own_seconds: float = 0.0
    """Of a processor, taken by the service's own process and the client in it."""


async def by_service(pairs: Sequence[Pair], *, workers: int) -> Round:
    reward = RewardSpec(
        verifiers=(VerifierSpec(math=MathVerifier()),), workers=workers, timeout_seconds=DEADLINE_SECONDS
    )
    async with open_pool(setup_of(reward), limits=limits_of(reward), board=Board()) as pool:
        app = reward_app(pool, Board(), check=None)
        async with serving(app, host="127.0.0.1", port=0) as url, open_client(token=None) as client:
            await asked(client, url, completions(2 * workers * GROUP, seed=-1))
            began, own = time.perf_counter(), time.process_time()
            verdicts, waits = await asked(client, url, pairs)
            rate, own_seconds = len(pairs) / (time.perf_counter() - began), time.process_time() - own
            return Round(rate=rate, verdicts=verdicts, waits=waits, own_seconds=own_seconds)


async def asked(client: Client, url: str, pairs: Sequence[Pair]) -> tuple[list[bool], list[float]]:
    """Verdicts in order, and what each group waited; an error of the judge ends the measurement."""
    room = asyncio.Semaphore(_MOST_AT_ONCE)

    async def ask(group: Sequence[Pair]) -> tuple[list[bool], float]:
        async with room:
            began = time.perf_counter()
            items = [
                {"id": str(index), "text": text, "finish": "stop", "task": {"answer": reference}}
                for index, (reference, text) in enumerate(group)
            ]
            reply: dict[str, Any] = await client.post(f"{url}/score", {"items": items}, deadline=600)
            assert not [verdict for verdict in reply["verdicts"] if verdict["outcome"] == "error"], reply
            rights = [verdict["outcome"] == "correct" for verdict in reply["verdicts"]]
            return rights, time.perf_counter() - began

    found = await asyncio.gather(*(ask(pairs[at : at + GROUP]) for at in range(0, len(pairs), GROUP)))
    return [right for rights, _ in found for right in rights], [wait for _, wait in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--completions", type=int, default=512)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds: dict[str, list[Round]] = {"library": [], "verifier": [], "service": []}
    for number in range(options.rounds):
        pairs = completions(options.completions, seed=number)
        rounds["library"].append(timed(by_library, pairs, workers=options.workers))
        rounds["verifier"].append(timed(by_verifier, pairs, workers=options.workers))
        rounds["service"].append(asyncio.run(by_service(pairs, workers=options.workers)))
    print(json.dumps(report(rounds, completions=options.completions, workers=options.workers)))


def report(rounds: dict[str, list[Round]], *, completions: int, workers: int) -> dict[str, Any]:
    rates = {name: statistics.median(each.rate for each in found) for name, found in rounds.items()}
    waits = sorted(wait for each in rounds["service"] for wait in each.waits)
    p99 = waits[min(int(len(waits) * 0.99), len(waits) - 1)]
    own = statistics.median(each.own_seconds for each in rounds["service"]) / completions
    verdicts = {name: [each.verdicts for each in found] for name, found in rounds.items()}
    return {
        "rateRatio": round(rates["service"] / rates["library"], 3),
        "ofOwnVerifierRatio": round(rates["service"] / rates["verifier"], 3),
        "libraryPerSecond": round(rates["library"], 1),
        "verifierPerSecond": round(rates["verifier"], 1),
        "servicePerSecond": round(rates["service"], 1),
        "ownMilliseconds": round(1000 * own, 2),
        "p99Seconds": round(p99, 3),
        "deadlineSeconds": DEADLINE_SECONDS,
        "deadlineKept": p99 <= DEADLINE_SECONDS,
        "sameVerdicts": verdicts["library"] == verdicts["verifier"] == verdicts["service"],
        "completions": completions,
        "workers": workers,
        "rounds": len(rounds["service"]),
    }


if __name__ == "__main__":
    main()

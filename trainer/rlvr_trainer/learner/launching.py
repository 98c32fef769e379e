"""The learner of one node: one process, or the launcher of several ranks that end together.

A rank that fails ends the group within seconds.  The launcher says which rank failed first, on which node, and repeats
its last words; its exit code becomes the group's, so that 64, 65 and 75 mean the same for one rank and for many.  Ranks
that only noticed that another was gone (EXIT_PEER_LOST) are no culprits.  What other nodes do is not seen here: a pod
that ends takes its attempt with it, and a node without a culprit ends last, because who ends first is blamed.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO, Final

from rlvr_api import LearnerSpec, RLVRJob, contract
from rlvr_trainer.surroundings import Surroundings

logger = logging.getLogger(__name__)
EXIT_PEER_LOST: Final = 76
"""A rank gave up because another is gone; never leaves the launcher."""
_QUIET_CODES: Final = frozenset({contract.EXIT_DONE, contract.EXIT_INTERRUPTED})
_GRACE_SECONDS: Final = 5.0
"""From the first failure to the end of all others: long enough to say why."""
_STACK_SECONDS: Final = 1.0
_COURTESY_SECONDS: Final = _GRACE_SECONDS + _STACK_SECONDS + 2.0
"""So long a node without a culprit lets the others end first."""
_POLL_SECONDS: Final = 0.05
_WORDS: Final = 40
"""Last lines of a rank that are repeated when it is the culprit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A rank that is no more, in the order in which they ended."""

    rank: int
    code: int
    """128 + n for signal n."""


def main(surroundings: Surroundings) -> None:
    """Be a rank, or start this node's ranks and end as they do."""
    learner = RLVRJob.model_validate_json(surroundings.job.read_bytes()).spec.learner
    if learner.backend.local is not None or "RANK" in os.environ:
        importlib.import_module("rlvr_trainer.learner.app").main(surroundings)
        return
    told = environments(learner, os.environ, node=surroundings.index)
    code = launch(told, save_seconds=surroundings.save_seconds)
    if code != contract.EXIT_DONE:
        raise SystemExit(code)


def num_ranks(learner: LearnerSpec) -> int:
    return learner.nodes * ranks_per_node(learner)


def ranks_per_node(learner: LearnerSpec) -> int:
    return max(learner.gpus_per_node, 1)


def environments(learner: LearnerSpec, environment: Mapping[str, str], *, node: int) -> dict[int, dict[str, str]]:
    """What each rank of the node is told beside what the launcher was, in torchrun's words."""
    here = ranks_per_node(learner)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    given = {name: environment[name] for name in meeting if name in environment}
    return {
        node * here + local: {
            **meeting,
            **given,
            "RANK": str(node * here + local),
            "LOCAL_RANK": str(local),
            "WORLD_SIZE": str(num_ranks(learner)),
            "LOCAL_WORLD_SIZE": str(here),
            "RLVR_SUPERVISOR": str(os.getpid()),
        }
        for local in range(here)
    }


def culprit(endings: Iterable[Ended]) -> Ended | None:
    """Who failed first by itself; None when nobody did."""
    return next((one for one in endings if one.code not in _QUIET_CODES | {EXIT_PEER_LOST}), None)


def code_of(endings: Sequence[Ended]) -> int:
    """The exit code of the group."""
    guilty = culprit(endings)
    if guilty is not None:
        return guilty.code
    codes = {one.code for one in endings}
    return 1 if EXIT_PEER_LOST in codes else max(codes)


def is_bystander(endings: Sequence[Ended], left: Sequence[int]) -> bool:
    """Whether a rank of another node is at fault."""
    return culprit(endings) is None and not left and EXIT_PEER_LOST in {one.code for one in endings}


def launch(told: Mapping[int, Mapping[str, str]], *, save_seconds: float) -> int:
    """Run the ranks to their end; returns the group's exit code."""
    ranks = {rank: _Rank(rank, environment) for rank, environment in told.items()}
    _pass_on_signals(ranks.values())
    endings, left = _watch(ranks, save_seconds=save_seconds)
    code = code_of(endings)
    if code not in _QUIET_CODES:
        sys.stderr.write(verdict(endings, left, words={rank: one.last_words() for rank, one in ranks.items()}))
    if is_bystander(endings, left):
        time.sleep(_COURTESY_SECONDS)
    return code


def verdict(endings: Sequence[Ended], left: Sequence[int], *, words: Mapping[int, Sequence[str]]) -> str:
    """What the operator of the group should know: who failed, where, and its last words."""
    guilty, node = culprit(endings), socket.gethostname()
    if guilty is not None:
        what, speakers = f"rank {guilty.rank} ended with exit code {guilty.code}", [guilty.rank]
    elif left:
        what, speakers = f"rank {', '.join(map(str, left))} did not answer the others", list(left)
    else:
        what, speakers = "all ranks here lost a rank of another node", [endings[0].rank]
    said = "".join(f"  [rank {rank}] {line}\n" for rank in speakers for line in words[rank])
    return f"error: the learner group ends: {what}, on node {node}. Its last words:\n{said}"


def _watch(ranks: Mapping[int, _Rank], *, save_seconds: float) -> tuple[list[Ended], list[int]]:
    """Wait for all; after a failure only for so long.  Returns who ended, and who had to be killed."""
    endings: list[Ended] = []
    failed_at = float("inf")
    while left := [rank for rank in ranks if rank not in {one.rank for one in endings}]:
        endings += [Ended(rank=rank, code=code) for rank in left if (code := ranks[rank].code()) is not None]
        if failed_at == float("inf") and any(one.code not in _QUIET_CODES for one in endings):
            failed_at = time.monotonic()
        # The first rank of a node may have an upload to end.
        grace = save_seconds if min(ranks) in left else _GRACE_SECONDS
        if time.monotonic() >= failed_at + grace:
            left = [rank for rank in left if ranks[rank].code() is None]
            _kill([ranks[rank] for rank in left])
            return endings, left
        time.sleep(_POLL_SECONDS)
    return endings, []


def _kill(ranks: Sequence[_Rank]) -> None:
    """Ask where they stand, then end them."""
    for rank in ranks:
        rank.process.send_signal(signal.SIGUSR1)
    time.sleep(_STACK_SECONDS)
    for rank in ranks:
        rank.process.kill()
        rank.process.wait()


class _Rank:
    """A rank's process; what it says is passed on with its number, and its last lines are kept."""

    def __init__(self, rank: int, told: Mapping[str, str]) -> None:
        self._rank = rank
        self._words: deque[str] = deque(maxlen=_WORDS)
        self.process = subprocess.Popen(
            (sys.executable, "-m", "rlvr_trainer", "learner"),
            stdin=subprocess.PIPE,  # its end tells the rank that the launcher is gone
            stderr=subprocess.PIPE,
            env={**os.environ, **told},
            text=True,
            errors="replace",
            process_group=0,  # a rank that loses its launcher ends its own group, never whatever group started us
        )
        assert self.process.stderr is not None, "asked for"
        self._reader = threading.Thread(target=self._relay, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def code(self) -> int | None:
        """The exit code as a shell shows it; None while it runs."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def last_words(self) -> tuple[str, ...]:
        self._reader.join(timeout=_STACK_SECONDS)
        return tuple(self._words)

    def _relay(self, stream: IO[str]) -> None:
        for line in stream:
            self._words.append(line.rstrip("\n"))
            sys.stderr.write(f"[rank {self._rank}] {line}")
            sys.stderr.flush()


def _pass_on_signals(ranks: Iterable[_Rank]) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        for rank in ranks:
            if rank.process.poll() is None:
                rank.process.terminate()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

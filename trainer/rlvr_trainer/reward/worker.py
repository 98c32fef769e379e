"""`python -m rlvr_trainer.reward.worker`: judge one item after the other until the connection closes.

The parent decides how long an item may take and kills the whole process group.  Here are only the limits that a
process sets itself: private memory, no core dumps, and the end of the parent is its own end.
This is not a jail: a verifier may do what the reward service's user may do.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Final

import msgspec

from rlvr_api.reward import VerifierSpec
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.reward.frames import Deframer, Ready, Report, Setup, frame, read_item
from rlvr_trainer.verifiers.composition import Weighted, judge
from rlvr_trainer.verifiers.registry import kind_of, verifier_for
from rlvr_trainer.wire import unpack

_PR_SET_PDEATHSIG: Final = 1
_CHUNK_BYTES: Final = 2**18


def main() -> int:
    parent = os.getppid()
    die_with_parent(parent)
    connection = take_connection()
    messages = read_messages(connection)
    setup = unpack(next(messages), Setup)
    try:
        verifiers = load(setup)
    except InvalidInput as error:
        send(connection, Ready(problem=str(error)))
        return 1
    limit(setup)
    send(connection, Ready())
    judge_all(messages, verifiers, connection=connection)
    return 0


def judge_all(messages: Iterator[bytes], verifiers: tuple[Weighted, ...], *, connection: int) -> None:
    me = os.getpid()
    for message in messages:
        item = read_item(message)
        judgement = judge(verifiers, item.task, item.text, finish=item.finish)
        if os.getpid() != me:  # a verifier forked, and this is the child coming back
            os._exit(0)
        send(connection, Report(id=item.id, judgement=judgement))


def load(setup: Setup) -> tuple[Weighted, ...]:
    """The verifiers of a setup; InvalidInput when one cannot work here."""
    specs = [VerifierSpec.model_validate_json(text) for text in setup.verifiers]
    return tuple(_weighted(spec, deadline_seconds=setup.deadline_seconds) for spec in specs)


def _weighted(spec: VerifierSpec, *, deadline_seconds: float) -> Weighted:
    verifier = verifier_for(spec, deadline_seconds=deadline_seconds)
    return Weighted(kind=kind_of(spec), verifier=verifier, weight=spec.weight)


def limit(setup: Setup) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (setup.memory_bytes, setup.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with_parent(parent: int) -> None:
    """Linux: the kernel kills this process when its parent ends.  Elsewhere it ends between items."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def take_connection() -> int:
    """Keep the connection for ourselves: a verifier reads nothing, and what it prints goes to standard error."""
    connection = os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    os.close(nowhere)
    return connection


def read_messages(descriptor: int) -> Iterator[bytes]:
    deframer = Deframer()
    while data := os.read(descriptor, _CHUNK_BYTES):
        yield from deframer.feed(data)


def send(descriptor: int, record: msgspec.Struct) -> None:
    data = memoryview(frame(record))
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    sys.exit(main())

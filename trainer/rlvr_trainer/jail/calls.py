"""Calls between an examiner and a program's functions: frames of JSON, each after its length, over one socket.

    {"do": "call", "on": name or handle, "arguments": [...], "named": {...}}   "get", "set", "list" likewise
    -> {"value": ...} or {"raised": [type, text]}

The program's side (`serve_calls`) lives in the program's process and is not trusted: whatever it sends is data,
bounded in size.
"""

from __future__ import annotations

import json
import os
from itertools import islice
from typing import Any, Final

from rlvr_trainer.jail.values import decode, encode

LONGEST_FRAME: Final = 8 * 2**20
_MOST_LISTED: Final = 100_000


class Gone(Exception):
    """The other side closed the connection or sent something else than a frame."""


def send(file: int, message: Any) -> None:
    data = json.dumps(message).encode()
    view = memoryview(len(data).to_bytes(4, "big") + data)
    while view:
        view = view[os.write(file, view) :]


def receive(file: int) -> Any:
    """The next message; Gone when there is none."""
    length = int.from_bytes(_exactly(file, 4), "big")
    if length > LONGEST_FRAME:
        raise Gone(f"a message of {length} bytes; the longest is {LONGEST_FRAME}")
    try:
        return json.loads(_exactly(file, length))
    except (ValueError, RecursionError) as problem:
        raise Gone(f"not a message: {problem!r:.100}") from problem


def _exactly(file: int, count: int) -> bytes:
    parts = []
    while count:
        try:
            part = os.read(file, min(count, 2**16))
        except OSError as problem:
            raise Gone(str(problem)) from problem
        if not part:
            raise Gone("the connection ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def serve_calls(namespace: dict[str, Any], file: int) -> None:
    """Answer calls until the connection ends."""
    kept: list[Any] = []

    def keep(value: Any) -> int:
        kept.append(value)
        return len(kept) - 1

    def find(number: int, _: str) -> Any:
        return kept[number]

    while True:
        try:
            order = receive(file)
        except Gone:
            return
        try:
            answer = {"value": encode(_perform(order, namespace, find), keep)}
            if len(json.dumps(answer)) > LONGEST_FRAME:
                answer = {"raised": ["ValueError", f"it returned more than {LONGEST_FRAME} bytes"]}
        except BaseException as problem:  # noqa: BLE001 - whatever a program raises is its answer
            answer = {"raised": [type(problem).__name__[:80], f"{problem}"[:500]]}
        send(file, answer)


def _perform(order: dict[str, Any], namespace: dict[str, Any], find: Any) -> Any:
    target = order["on"]
    subject = _named(namespace, target) if isinstance(target, str) else find(target, "")
    match order["do"]:
        case "call":
            named = {key: decode(value, find) for key, value in order["named"].items()}
            return subject(*decode(order["arguments"], find), **named)
        case "get":
            return getattr(subject, order["name"])
        case "set":
            return setattr(subject, order["name"], decode(order["value"], find))
        case _:
            return list(islice(subject, _MOST_LISTED))


def _named(namespace: dict[str, Any], name: str) -> Any:
    """A function or class of the program, or a method of its class Solution."""
    if name in namespace:
        return namespace[name]
    if hasattr(namespace.get("Solution"), name):
        return getattr(namespace["Solution"](), name)
    raise NameError(f"the program defines no {name!r}")

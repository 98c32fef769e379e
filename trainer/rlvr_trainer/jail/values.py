"""Plain values between a program and the tests it is put to, as JSON: numbers, text, bytes and containers of them.

Never code: what arrives is built of Python's own types, whatever sent it, so a program cannot hand over an object that
claims to be equal to everything.  Anything else stays where it is and travels as a handle, a number and a name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Keep = Callable[[Any], int]
"""Remember an object; its handle's number."""
Find = Callable[[int, str], Any]
"""What stands for the object of a handle, given its number and type's name."""

_CONTAINERS: Final[tuple[tuple[type, str], ...]] = ((tuple, "t"), (set, "s"), (frozenset, "z"))


def encode(value: Any, keep: Keep) -> Any:  # noqa: C901, PLR0911 - one line a type
    """`value` as JSON; RecursionError when it is nested too deep or holds itself."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return {"i": hex(int.__index__(value))}
    if isinstance(value, float):
        return {"f": float.hex(value)}
    if isinstance(value, complex):
        return {"c": [float.hex(value.real), float.hex(value.imag)]}
    if isinstance(value, bytes | bytearray):
        return {"b": value.hex()}
    if isinstance(value, list):
        return [encode(item, keep) for item in list.__iter__(value)]
    if isinstance(value, dict):
        return {"d": [[encode(key, keep), encode(item, keep)] for key, item in dict.items(value)]}
    for kind, tag in _CONTAINERS:
        if isinstance(value, kind):
            return {tag: [encode(item, keep) for item in kind.__iter__(value)]}  # type: ignore[attr-defined]
    return {"h": [keep(value), type(value).__name__[:80]]}


def decode(data: Any, find: Find) -> Any:
    """The value of `data`; ValueError when it is none of ours."""
    if isinstance(data, list):
        return [decode(item, find) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1:
        raise ValueError("not a value")
    ((tag, content),) = data.items()
    try:
        return _DECODERS[tag](content, find)
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"not a value: {problem!r:.100}") from problem


_DECODERS: Final[dict[str, Callable[[Any, Find], Any]]] = {
    "i": lambda content, _: int(content, 16),
    "f": lambda content, _: float.fromhex(content),
    "c": lambda content, _: complex(float.fromhex(content[0]), float.fromhex(content[1])),
    "b": lambda content, _: bytes.fromhex(content),
    "d": lambda content, find: {decode(key, find): decode(item, find) for key, item in content},
    "t": lambda content, find: tuple(decode(item, find) for item in content),
    "s": lambda content, find: {decode(item, find) for item in content},
    "z": lambda content, find: frozenset(decode(item, find) for item in content),
    "h": lambda content, find: find(int(content[0]), str(content[1])),
}

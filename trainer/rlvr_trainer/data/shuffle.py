"""A shuffle that is a formula: any element of any epoch's order in constant time and memory.

A Feistel network on the smallest even number of bits that holds the range, walked until it lands inside (cycle
walking: Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002, section 3).  It mixes; it hides nothing.
"""

from __future__ import annotations

import hashlib
from typing import Final

_ROUNDS: Final = 4


def shuffled(index: int, *, size: int, key: str) -> int:
    """Where `index` goes in the permutation of range(size) that `key` names."""
    assert 0 <= index < size, f"{index} is not in range({size})"
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    value = _feistel(index, half=half, key=key)
    while value >= size:
        value = _feistel(value, half=half, key=key)
    return value


def keyed_integer(*parts: object, bits: int) -> int:
    """A well-mixed integer below 2**bits that depends on `parts` alone; the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - bits)


def _feistel(value: int, *, half: int, key: str) -> int:
    mask = (1 << half) - 1
    left, right = value >> half, value & mask
    for turn in range(_ROUNDS):
        left, right = right, left ^ keyed_integer(key, turn, right, bits=half)
    return left << half | right

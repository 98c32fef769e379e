"""The token this process shows to others, and the check of the tokens that others show to it.

On one machine all roles share a random token.  In a pod each has a ServiceAccount token of its own, which the kubelet
replaces before it expires, and `trust.json` beside the job says whose to accept; it changes when the cluster's keys do.
Both files are read again whenever they were replaced.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.trust import complaint, read_trust

T = TypeVar("T")
TokenSource = Callable[[], str]
"""The token to show now."""
TokenCheck = Callable[[str], str | None]
"""What is wrong with a token; None when nothing is."""
TRUST_FILE: Final = "trust.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Both directions."""

    token: TokenSource
    check: TokenCheck


class Kept(Generic[T]):
    """What a file says, read again when it was replaced.  A ConfigMap or token in a pod is replaced as a whole."""

    def __init__(self, path: Path, read: Callable[[bytes], T]) -> None:
        self._path = path
        self._read = read
        self._known: tuple[tuple[int, int], T] | None = None

    def __call__(self) -> T:
        found = self._path.stat()
        version = (found.st_ino, found.st_mtime_ns)
        if self._known is None or self._known[0] != version:
            self._known = (version, self._read(self._path.read_bytes()))
        return self._known[1]


def credentials_of(surroundings: Surroundings) -> Credentials:
    """Those of a pod when trust.json is there, else the token that the run's processes share."""
    token = Kept(surroundings.token_file, _text)
    token()  # a file that is missing is said at the start
    trusted = surroundings.job.with_name(TRUST_FILE)
    if not trusted.exists():
        return Credentials(token=token, check=shared(token))
    trust = Kept(trusted, read_trust)
    trust()
    return Credentials(token=token, check=lambda shown: complaint(shown, trust(), now=time.time()))


def shared(token: TokenSource) -> TokenCheck:
    """Everybody shows the same token; compared in constant time."""
    return lambda shown: None if hmac.compare_digest(shown.encode(), token().encode()) else "wrong bearer token"


def _text(data: bytes) -> str:
    return data.decode().strip()

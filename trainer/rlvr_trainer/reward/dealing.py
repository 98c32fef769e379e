"""Which of the waiting items a worker is handed next: decides, and starts nothing.

Items of one request are mostly answers to one task, so what judging one leaves in a worker's caches (a parsed
reference, an equation already solved) serves the others: quick ones stay together on one worker while there are other
requests for the others.  Slow ones gain nothing by that and would wait, so there the oldest go first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")
CHUNK_SECONDS: Final = 0.02
_LONGEST_CHUNK: Final = 64
_SLOW_SECONDS: Final = 0.1


def chunk_size(waiting: int, *, num_workers: int, mean_seconds: float) -> int:
    """Items to hand to a worker at once: about 20 ms of work, a fair share of what waits, at least one."""
    fair = -(-waiting // num_workers)
    return max(1, min(fair, _LONGEST_CHUNK, int(CHUNK_SECONDS / mean_seconds)))


class Waiting(Generic[T]):
    """Items by request, oldest first."""

    def __init__(self, *, num_workers: int) -> None:
        self._num_workers = num_workers
        self._fresh: deque[deque[T]] = deque()
        """Requests of which nothing was taken."""
        self._begun: dict[Hashable, deque[T]] = {}
        """What is left of the request that a worker has begun."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, items: Sequence[T]) -> None:
        """What one request brings."""
        if items:
            self._fresh.append(deque(items))
        self._size += len(items)

    def give_back(self, items: Sequence[T]) -> None:
        """What was taken and not begun comes first."""
        if items:
            self._fresh.appendleft(deque(items))
        self._size += len(items)

    def release(self, worker: Hashable) -> None:
        """A worker is gone: whoever is free goes on with its request."""
        if rest := self._begun.pop(worker, None):
            self._fresh.appendleft(rest)

    def take(self, worker: Hashable, *, mean_seconds: float) -> list[T]:
        """The next chunk, empty when nothing waits; `mean_seconds` is what an item takes."""
        size = min(len(self), chunk_size(len(self), num_workers=self._num_workers, mean_seconds=mean_seconds))
        chunk: list[T] = []
        while len(chunk) < size:
            owner = self._owner_of_next(worker, keeps_together=mean_seconds < _SLOW_SECONDS)
            if chunk and owner != worker:
                break
            chunk += self._draw(owner, size - len(chunk))
        return chunk

    def _owner_of_next(self, worker: Hashable, *, keeps_together: bool) -> Hashable:
        """Whose request is drawn from: the worker's own, a fresh one, and only then another's."""
        if keeps_together and worker in self._begun:
            return worker
        if self._fresh and (keeps_together or not self._begun):
            self._begun[worker] = self._fresh.popleft()
            return worker
        return next(iter(self._begun))

    def _draw(self, owner: Hashable, most: int) -> list[T]:
        batch = self._begun[owner]
        drawn = [batch.popleft() for _ in range(min(most, len(batch)))]
        if not batch:
            del self._begun[owner]
        self._size -= len(drawn)
        return drawn

"""Continuous batching: sequences join, grow by one token a step together, and leave.

Owned by one thread; nothing here waits or knows HTTP.  The completions of one prompt share one prefill.  What a
sequence becomes depends on its request and the weights that sampled it, never on its neighbours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from rlvr_trainer.engines.local.architecture import Architecture, read_architecture
from rlvr_trainer.engines.local.attention import padded_keys
from rlvr_trainer.engines.local.cache import POSITION_STEP, KeyValueCache
from rlvr_trainer.engines.local.decoder import Model, decode, prefill, read
from rlvr_trainer.engines.local.requests import Choice, FinishReason, Request
from rlvr_trainer.engines.local.rope import rope_tables
from rlvr_trainer.engines.local.rows import Rows, Sequence
from rlvr_trainer.engines.local.sampler import sample, temperatures_by_entropy
from rlvr_trainer.engines.local.weights import load_weights
from rlvr_trainer.errors import InvalidInput

_FEWEST_TOKENS = 32
_TOKEN_STEP = 8
"""A pass has at least so many tokens and a multiple of so many; see decoder.py."""
_PREFILL_POSITIONS = 32
_PREFILL_TOKENS = 4096
_PREFILL_SCORES = 2**23
"""Bounds of one prefill pass: positions of a sequence, tokens, and attention scores (32 MB in float32)."""
_JOINING_TOKENS = 4096
"""Prompt tokens read in one step, unless a single prompt is longer."""
_FIRST_VERSION = "default"

Deliver = Callable[[list[Choice]], None]


@dataclass(slots=True, kw_only=True, eq=False)
class _Pending:
    """A request that is not answered yet."""

    request: Request
    deliver: Deliver
    running: list[Sequence] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)


def open_engine(folder: Path, *, max_concurrent: int, max_context: int | None, dtype: torch.dtype) -> Engine:
    """An engine with the weights of `folder`; InvalidInput when the local engine cannot run them."""
    architecture = read_architecture(folder)
    if max_context is not None and max_context > architecture.max_context:
        raise InvalidInput(
            f"model.maxContext is {max_context}, but the model in {folder} was made for {architecture.max_context} "
            "tokens; lower maxContext or leave it out."
        )
    architecture = replace(architecture, max_context=max_context or architecture.max_context)
    positions = _rounded_up(architecture.max_context, POSITION_STEP)
    model = Model(
        architecture=architecture,
        weights=load_weights(folder, architecture, dtype=dtype),
        rope=rope_tables(architecture, positions=positions, dtype=dtype),
    )
    return Engine(model, max_concurrent=max_concurrent, dtype=dtype)


class Engine:
    """Running and waiting sequences, their cache, and the weights that serve them."""

    def __init__(self, model: Model, *, max_concurrent: int, dtype: torch.dtype) -> None:
        slots = _padded(max_concurrent)
        positions = _rounded_up(model.architecture.max_context, POSITION_STEP)
        self.model = model
        self.max_concurrent = max_concurrent
        self.dtype = dtype
        self.weight_version = _FIRST_VERSION
        self.num_prompt_tokens = 0
        self.num_sampled_tokens = 0
        self._generation = 0
        """Counts weight loads; keys and values of another generation are not shared."""
        self._rows = Rows(capacity=slots, max_tokens=positions)
        self._cache = KeyValueCache(model.architecture, slots=slots, dtype=dtype)
        self._cache_is_valid = True
        self._waiting: deque[Sequence] = deque()
        self._pending: dict[str, _Pending] = {}

    @property
    def architecture(self) -> Architecture:
        return self.model.architecture

    @property
    def num_running(self) -> int:
        return self._rows.num_used

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        return not self.num_running and not self.num_waiting

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Queue `request`; `deliver` is called once, with one choice per completion."""
        if request.request_id in self._pending:
            raise InvalidInput(f"request_id {request.request_id!r} is already being answered; ids must be unique.")
        self._pending[request.request_id] = _Pending(request=request, deliver=deliver)
        self._waiting.extend(Sequence(request=request, index=i) for i in range(request.sampling.num_completions))

    @torch.inference_mode()
    def abort(self, request_ids: list[str]) -> int:
        """Answer these requests with what they have; returns how many were there."""
        known = [request_id for request_id in request_ids if request_id in self._pending]
        for request_id in known:
            for sequence in list(self._pending[request_id].running):
                self._finish(sequence.row, FinishReason.ABORT)
            for sequence in [waiting for waiting in self._waiting if waiting.request.request_id == request_id]:
                self._waiting.remove(sequence)
                self._deliver(sequence, _nothing_sampled(sequence))
        return len(known)

    def abort_all(self) -> int:
        """Answer everything with what it has."""
        return self.abort(list(self._pending))

    @torch.inference_mode()
    def score(self, token_ids: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Log-probabilities of all tokens but the first at temperature 1, by the block that also samples."""
        num_scored = len(token_ids) - 1
        tokens = torch.zeros(_rounded_up(num_scored, _PREFILL_POSITIONS), dtype=torch.long)
        tokens[:num_scored] = torch.tensor(token_ids[:-1])
        cache = KeyValueCache(self.architecture, slots=1, dtype=self.dtype)
        cache.reserve(len(tokens), used_slots=0)
        found = np.zeros(num_scored, dtype=np.float32)
        for start in range(0, num_scored, _PREFILL_POSITIONS):
            block = tokens[start : start + _PREFILL_POSITIONS]
            logprobs = torch.log_softmax(read(self.model, cache, tokens_Q=block, start=start), -1)
            following = torch.tensor(token_ids[start + 1 : start + 1 + _PREFILL_POSITIONS])
            found[start : start + len(following)] = logprobs[torch.arange(len(following)), following].numpy()
        return found

    def load(self, folder: Path) -> None:
        """Replace the weights; on any error the old ones stay."""
        self.model = replace(self.model, weights=load_weights(folder, self.architecture, dtype=self.dtype))
        self._generation += 1

    def label(self, version: str) -> None:
        """Tokens sampled from now on belong to `version`."""
        self.weight_version = version
        for sequence in self._rows.sequences:
            sequence.mark_version(version, num_tokens=self._rows.num_completion_tokens(sequence.row))

    def drop_cache(self) -> None:
        """Compute the keys and values of running sequences anew before their next token."""
        self._cache_is_valid = False

    @torch.inference_mode()
    def step(self, *, admit: bool = True) -> None:
        """Admit what fits, unless told not to, and grow every running sequence by one token."""
        if not self._cache_is_valid:
            self._fill(0, self.num_running)
            self._cache_is_valid = True
        if admit:
            self._admit()
        if self.num_running:
            self._grow()

    def _grow(self) -> None:
        rows, padded = self._rows, _padded(self.num_running)
        tokens, positions = rows.newest(padded=padded)
        logits = decode(self.model, self._cache, tokens_R=tokens, positions_R=positions)
        temperatures, forks = torch.from_numpy(rows.temperatures[:padded]), rows.forks(padded=padded)
        if forks is not None:
            temperatures = temperatures_by_entropy(logits, temperatures, forks)
        drawn, logprobs = sample(logits, temperatures, rows.noise(padded=padded), rows.filters(padded=padded))
        self.num_sampled_tokens += rows.num_used
        for row in rows.append(drawn, logprobs):
            self._finish(row, self._why(row))

    def _admit(self) -> None:
        joining = self._joining()
        if not joining:
            return
        self._cache.reserve(max(sequence.max_total_tokens for sequence in joining), used_slots=self.num_running)
        leaders, followers = self._paired(joining)
        first_row = self.num_running
        for leader in sorted(leaders, key=lambda sequence: sequence.num_prompt_tokens):
            self._start(leader)
        self._fill(first_row, self.num_running)
        for donor, follower in followers:
            self._start(follower)
            self._cache.copy_slot(donor.row, follower.row, positions=follower.num_prompt_tokens - 1)

    def _joining(self) -> list[Sequence]:
        """Who joins now: as many as there are slots, but no more to read than keeps the step short."""
        joining: list[Sequence] = []
        read = 0
        while self._waiting and self.num_running + len(joining) < self.max_concurrent:
            following = self._waiting[0]
            is_new = not joining or joining[-1].request is not following.request
            if is_new and joining and read + following.num_prompt_tokens > _JOINING_TOKENS:
                break
            read += following.num_prompt_tokens * is_new
            joining.append(self._waiting.popleft())
        return joining

    def _paired(self, joining: list[Sequence]) -> tuple[list[Sequence], list[tuple[Sequence, Sequence]]]:
        """Who must read its prompt, and who takes it over from whom."""
        leaders: list[Sequence] = []
        followers: list[tuple[Sequence, Sequence]] = []
        for _, group in groupby(joining, key=lambda sequence: sequence.request.request_id):
            first, *rest = group
            donor = self._donor(first)
            if donor is None:
                leaders.append(first)
            else:
                followers.append((donor, first))
            followers.extend((donor or first, sequence) for sequence in rest)
        return leaders, followers

    def _donor(self, sequence: Sequence) -> Sequence | None:
        """A running completion of the same prompt whose prompt was read by the present weights."""
        siblings = self._pending[sequence.request.request_id].running
        return next((sibling for sibling in siblings if sibling.filled_by == self._generation), None)

    def _start(self, sequence: Sequence) -> None:
        self._rows.add(sequence, vocabulary=self.architecture.vocabulary)
        self._pending[sequence.request.request_id].running.append(sequence)
        sequence.filled_by = self._generation
        sequence.mark_version(self.weight_version, num_tokens=0)

    def _fill(self, first_row: int, end_row: int) -> None:
        """Compute keys and values of rows [first_row, end_row) for all their tokens but the newest."""
        needed = self._rows.lengths[first_row:end_row] - 1
        self.num_prompt_tokens += int(needed.sum())
        for sequence in self._rows.sequences[first_row:end_row]:
            sequence.filled_by = self._generation
        for start in range(0, int(needed.max(initial=0)), _PREFILL_POSITIONS):
            for row in range(first_row, end_row, self._prefill_rows(start)):
                self._fill_block(row, min(self._prefill_rows(start), end_row - row), start)

    def _prefill_rows(self, start: int) -> int:
        """Sequences of one pass over positions from `start`, so that it stays small."""
        scores = _PREFILL_POSITIONS * self.architecture.num_heads * padded_keys(start + _PREFILL_POSITIONS)
        return max(1, min(_PREFILL_SCORES // scores, _PREFILL_TOKENS // _PREFILL_POSITIONS))

    def _fill_block(self, first_row: int, num_rows: int, start: int) -> None:
        longest = int(self._rows.lengths[first_row : first_row + num_rows].max()) - 1
        wanted = min(longest - start, _PREFILL_POSITIONS)
        if wanted <= 0:
            return
        end = start + _rounded_up(max(wanted, -(-_FEWEST_TOKENS // num_rows)), _TOKEN_STEP)
        tokens = torch.from_numpy(self._rows.tokens[first_row : first_row + num_rows, start:end].T)
        prefill(self.model, self._cache, tokens_QR=tokens, first_slot=first_row, start=start)

    def _why(self, row: int) -> FinishReason:
        sampling = self._rows.sequences[row].request.sampling
        newest = self._rows.tokens[row, self._rows.lengths[row] - 1]
        return FinishReason.STOP if newest in sampling.end_token_ids + sampling.stop_token_ids else FinishReason.LENGTH

    def _finish(self, row: int, reason: FinishReason) -> None:
        sequence = self._rows.sequences[row]
        choice = self._choice(sequence, reason)
        moved_from = self._rows.remove(row)
        if moved_from is not None:
            length = int(self._rows.lengths[row])
            self._cache.copy_slot(moved_from, row, positions=length)
        self._pending[sequence.request.request_id].running.remove(sequence)
        self._deliver(sequence, choice)

    def _choice(self, sequence: Sequence, reason: FinishReason) -> Choice:
        rows, row = self._rows, sequence.row
        span = slice(int(rows.prompt_lengths[row]), int(rows.lengths[row]))
        tokens = rows.tokens[row, span].copy()
        stopped = reason is FinishReason.STOP and tokens[-1] not in sequence.request.sampling.end_token_ids
        return Choice(
            index=sequence.index,
            token_ids=tokens,
            logprobs=rows.logprobs[row, span].copy(),
            finish_reason=reason,
            stop_reason=int(tokens[-1]) if stopped else None,
            weight_versions=sequence.version_ranges(num_tokens=len(tokens)),
        )

    def _deliver(self, sequence: Sequence, choice: Choice) -> None:
        pending = self._pending[sequence.request.request_id]
        pending.choices.append(choice)
        if len(pending.choices) == pending.request.sampling.num_completions:
            del self._pending[sequence.request.request_id]
            pending.deliver(sorted(pending.choices, key=lambda finished: finished.index))


def _nothing_sampled(sequence: Sequence) -> Choice:
    return Choice(
        index=sequence.index,
        token_ids=np.zeros(0, dtype=np.int64),
        logprobs=np.zeros(0, dtype=np.float32),
        finish_reason=FinishReason.ABORT,
        stop_reason=None,
        weight_versions=(),
    )


def _padded(num_rows: int) -> int:
    return max(_FEWEST_TOKENS, _rounded_up(num_rows, _TOKEN_STEP))


def _rounded_up(number: int, step: int) -> int:
    return -(-number // step) * step

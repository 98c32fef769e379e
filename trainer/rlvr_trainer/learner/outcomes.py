"""What a step's facts say by themselves: lengths, outcomes, difficulty, repetition.

No opinion of a recipe enters, and no policy is asked.  N tokens of all completions, one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from rlvr_trainer.algorithms.targets import DIFFICULTIES, difficulty
from rlvr_trainer.metrics import labelled
from rlvr_trainer.samples import Completion, Fate, Finish, Outcome, ScoredGroup, StepFacts, Tokens

_GRAM: Final = 20
_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)

Found = Iterator[tuple[str, float]]


def of_facts(facts: StepFacts) -> Found:
    """Every metric that follows from the facts alone."""
    yield "rlvr_learner_accuracy_ratio", facts.num_correct / facts.num_judged
    yield from _of_completions(completions_of(facts))
    yield from _of_outcomes(facts.groups)
    yield from _of_difficulties(facts.groups)
    yield from _of_solved(facts)
    yield from _of_targets(facts)


def completions_of(facts: StepFacts) -> list[Completion]:
    return [completion for one in facts.groups for completion in one.group.completions]


def repetition_ratios(completions: Sequence[Completion], *, size: int = _GRAM) -> npt.NDArray[np.float64]:
    """1 - distinct / all `size`-grams of each completion that has any.

    Grams are told apart by a 64-bit polynomial hash, over all completions at once.
    """
    lengths = np.array([len(completion.token_ids) for completion in completions])
    tokens_N = np.concatenate([completion.token_ids for completion in completions]).astype(np.uint64)
    whose_N, ends = np.repeat(np.arange(len(lengths)), lengths), lengths.cumsum()
    starts_K = np.flatnonzero(np.arange(len(tokens_N)) + size <= ends[whose_N])
    hash_K = np.zeros(len(starts_K), np.uint64)
    for offset in range(size):
        hash_K = hash_K * _FACTOR + tokens_N[starts_K + offset] + np.uint64(1)
    whose_K = whose_N[starts_K]
    # Sorted by completion, then by hash, a gram that repeats follows its equal.
    order_K = np.lexsort((hash_K, whose_K))
    hash_K, whose_K = hash_K[order_K], whose_K[order_K]
    again_K = (hash_K[1:] == hash_K[:-1]) & (whose_K[1:] == whose_K[:-1])
    repeated = np.bincount(whose_K[1:][again_K], minlength=len(lengths))
    grams = lengths - size + 1
    return np.asarray(repeated[grams > 0] / grams[grams > 0])


def _of_completions(completions: Sequence[Completion]) -> Found:
    lengths = [len(completion.token_ids) for completion in completions]
    yield "rlvr_learner_completion_tokens_mean", sum(lengths) / len(lengths)
    yield "rlvr_learner_completion_tokens_max", float(max(lengths))
    yield "rlvr_learner_truncated_ratio", _share([one.finish is Finish.LENGTH for one in completions])
    if len(ratios := repetition_ratios(completions)):
        yield "rlvr_learner_repetition_ratio", float(ratios.mean())


def _of_outcomes(groups: Sequence[ScoredGroup]) -> Found:
    verdicts = [verdict for one in groups for verdict in one.verdicts]
    yield "rlvr_learner_malformed_ratio", _share([verdict.outcome is Outcome.MALFORMED for verdict in verdicts])
    for correct, word in ((True, "yes"), (False, "no")):
        lengths = [length for one in groups for length, right in _judged(one) if right is correct]
        if lengths:
            yield labelled("rlvr_learner_completion_tokens_by_outcome_mean", correct=word), sum(lengths) / len(lengths)


def _of_difficulties(groups: Sequence[ScoredGroup]) -> Found:
    for name in DIFFICULTIES:
        members = [one for one in groups if _difficulty(one) == name]
        yield labelled("rlvr_learner_groups_by_difficulty_ratio", difficulty=name), len(members) / len(groups)
        judged = [pair for one in members for pair in _judged(one)]
        if judged:
            mean = sum(length for length, _ in judged) / len(judged)
            yield labelled("rlvr_learner_completion_tokens_by_difficulty_mean", difficulty=name), mean
            accuracy = _share([right for _, right in judged])
            yield labelled("rlvr_learner_accuracy_by_difficulty_ratio", difficulty=name), accuracy


def _of_solved(facts: StepFacts) -> Found:
    """Over trained and flat groups: a group that could not be judged says nothing."""
    pairs = [(one.num_correct, one.num_judged) for one in facts.groups]
    pairs += [(one.num_correct, one.num_judged) for one in facts.dropped if one.fate is not Fate.ERROR]
    by_correct = Counter(num_correct for num_correct, _ in pairs)
    for num_correct in range(max(size for _, size in pairs) + 1):
        yield labelled("rlvr_learner_groups_by_correct", correct=str(num_correct)), float(by_correct[num_correct])
    extents = Counter("none" if not right else "all" if right == size else "some" for right, size in pairs)
    for solved in ("none", "some", "all"):
        yield labelled("rlvr_learner_groups_solved_ratio", solved=solved), extents[solved] / len(pairs)


def _of_targets(facts: StepFacts) -> Found:
    targets = facts.state.length_targets
    for name, target in targets.items():
        yield labelled("rlvr_learner_length_target_tokens", difficulty=name), float(target)
    if not targets:
        return
    pairs = [(right, length <= targets[_difficulty(one)]) for one in facts.groups for length, right in _judged(one)]
    for correct, word in ((True, "yes"), (False, "no")):
        within = [short for right, short in pairs if right is correct]
        if within:
            yield labelled("rlvr_learner_within_target_ratio", correct=word), _share(within)


def tokens_of(facts: StepFacts) -> Tokens:
    """[N] completion tokens of all rows."""
    return np.concatenate([completion.token_ids for completion in completions_of(facts)])


def _judged(one: ScoredGroup) -> list[tuple[int, bool]]:
    """Length and correctness of each completion."""
    lengths = [len(completion.token_ids) for completion in one.group.completions]
    return [(length, verdict.is_correct) for length, verdict in zip(lengths, one.verdicts, strict=True)]


def _difficulty(one: ScoredGroup) -> str:
    return difficulty(one.num_correct, len(one.verdicts))


def _share(facts: Sequence[bool]) -> float:
    return sum(facts) / len(facts)

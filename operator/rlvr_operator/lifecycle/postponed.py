"""Children that are made when they are of use.  Pure.

As long as pods come up one by one, Kubernetes' own controllers write the addresses of a Service and the count of a
disruption budget again for each of them: made a little later, both are written once.  What is there stays up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.observed import ROLES, Role
from rlvr_operator.plan import Manifest
from rlvr_operator.timestamps import unix_or_none

NAMES_SECONDS: Final = 2.0
"""A pod that has its node looks for others no sooner: its network and its interpreter take longer to start."""
BUDGET_SECONDS: Final = 60.0
"""Before training has run for so long, a drain takes little away."""


def is_due(facts: Facts, child: Manifest) -> bool:
    """Whether the child should be there by now."""
    due_at = _DUE.get(child["kind"])
    if due_at is None or _is_there(facts, child["kind"]):
        return True
    at = due_at(facts)
    return at is not None and facts.now >= at


def due_times(facts: Facts) -> Iterator[float | None]:
    """When what is not there yet should be there at the latest; None while that is not known."""
    return (due_at(facts) for kind, due_at in _DUE.items() if not _is_there(facts, kind))


def _names_at(facts: Facts) -> float | None:
    """The Service names all addresses at once, or those that there are when the first pod has waited a while."""
    placed = [pod.placed_at or pod.created_at for role in ROLES for pod in facts.present(role) if pod.is_placed]
    if not placed:
        return None
    is_complete = all(_num_addresses(facts, role) >= facts.wanted(role) for role in ROLES)
    return min(placed) + (0.0 if is_complete else NAMES_SECONDS)


def _budget_at(facts: Facts) -> float | None:
    """All rollouts are ready, or training has run for a while with some of them."""
    if facts.ready("rollout") >= facts.wanted("rollout"):
        return 0.0
    began = unix_or_none(facts.attempt.running_at)
    return None if began is None else began + BUDGET_SECONDS


def _is_there(facts: Facts, kind: str) -> bool:
    """A job has one child of each of these kinds at most."""
    return any(key.startswith(f"{kind}/") for key in facts.seen.applied)


def _num_addresses(facts: Facts, role: Role) -> int:
    return sum(bool(pod.address) for pod in facts.present(role))


_DUE: Final[Mapping[str, Callable[[Facts], float | None]]] = {
    "Service": _names_at,
    "PodDisruptionBudget": _budget_at,
}

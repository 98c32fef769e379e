"""How the pods of a job are placed.  Ignored on one machine."""

from __future__ import annotations

from typing import ClassVar, Literal

from rlvr_api.base import Model, Rule
from rlvr_api.quantities import Word


class SchedulingSpec(Model):
    """Queue, gang, priority and topology."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.gang != 'kueue' || has(self.queueName)",
            message="gang kueue is admitted by a queue: set queueName to a LocalQueue, or choose another gang",
            holds=lambda scheduling: scheduling.gang != "kueue" or scheduling.queue_name is not None,
            field="queueName",
        ),
    )

    queue_name: Word | None = None
    """Kueue LocalQueue that admits the job."""
    gang: Literal["none", "kueue", "coscheduling", "volcano", "native"] = "none"
    """What starts the learner, the minimum of rollouts and one reward pod together or not at all."""
    priority_class_name: Word | None = None
    """PriorityClass of all pods."""
    topology_key: Word | None = None
    """Node label whose value all learner pods should share, such as a rack or an NVLink domain."""

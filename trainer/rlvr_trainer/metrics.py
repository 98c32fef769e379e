"""The one table of metrics, and a board that only takes names from it.

Base units (seconds, bytes, ratios), counters end in `_total`.  A gauge appears once it has a value: an unknown is
absent, never zero.  Job, namespace and pod labels come from the scrape, not from here.

In a StepReport a labelled value has the key that Prometheus would print: `name{phase="wait"}`, labels by name.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS: Final = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)
_EIGHTHS: Final = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_TOKENS: Final = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


class Kind(enum.Enum):
    """How a metric moves."""

    COUNTER = Counter
    GAUGE = Gauge
    HISTOGRAM = Histogram


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table."""

    name: str
    kind: Kind
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = _SECONDS


def _counter(name: str, description: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, description, labels)


def _gauge(name: str, description: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, description, labels)


def _histogram(name: str, description: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Metric:
    return Metric(name, Kind.HISTOGRAM, description, labels, buckets)


TABLE: Final[tuple[Metric, ...]] = (
    # The learner; each gauge is the newest step's value and also a key of StepReport.metrics.  "Class" is what the
    # recipe itself tells apart by entropy: `high` (Archer's reasoning tokens, the 80/20 rule's selection) and `low`.
    _gauge("rlvr_learner_step", "Finished optimizer steps."),
    _gauge("rlvr_learner_reward_mean", "Mean reward of the step's completions, shaping included."),
    _gauge("rlvr_learner_accuracy_ratio", "Correct share of all completions sampled for the step, dropped groups too."),
    _gauge("rlvr_learner_completion_tokens_mean", "Mean completion length in tokens."),
    _gauge("rlvr_learner_completion_tokens_max", "Longest completion in tokens."),
    _gauge("rlvr_learner_truncated_ratio", "Share of completions cut off by the token limit."),
    _gauge("rlvr_learner_entropy_nats", "Mean token entropy of the policy that starts the step."),
    _gauge("rlvr_learner_entropy_quantile_nats", "Quantiles of the token entropies.", "quantile"),
    _gauge("rlvr_learner_entropy_by_class_nats", "Mean token entropy of a class.", "class"),
    _gauge("rlvr_learner_entropy_threshold_nats", "Lowest entropy of a token that the 80/20 rule selected."),
    _gauge(
        "rlvr_learner_entropy_class_threshold_nats",
        "Lowest entropy in a completion's class of high entropy: min, mean and max over completions.",
        "statistic",
    ),
    _gauge("rlvr_learner_high_entropy_tokens_ratio", "Share of completion tokens in the class of high entropy."),
    _gauge(
        "rlvr_learner_entropy_overlap_ratio",
        "Share of the base model's most uncertain fifth of a fixed set of tokens that the policy has in its own.",
    ),
    _gauge("rlvr_learner_loss", "Policy loss of the step, as minimised."),
    _gauge("rlvr_learner_clipped_ratio", "Share of trained tokens whose gradient the trust region stopped."),
    _gauge("rlvr_learner_dual_clipped_ratio", "Share of trained tokens stopped by the dual clip."),
    _gauge("rlvr_learner_clipped_by_bound_ratio", "Share of trained tokens stopped: lower, upper.", "bound"),
    _gauge(
        "rlvr_learner_clipped_by_class_ratio",
        "Share of a class's trained tokens stopped: lower, upper, dual.",
        "class",
        "bound",
    ),
    _gauge("rlvr_learner_kl_reference_nats", "Mean k3 estimate of the KL to the reference policy."),
    _gauge("rlvr_learner_kl_reference_by_class_nats", "The same over the tokens of a class.", "class"),
    _gauge(
        "rlvr_learner_mismatch_kl_nats", "Mean k3 estimate of the KL between sampling and learner log-probabilities."
    ),
    _gauge("rlvr_learner_importance_weight_mean", "Mean truncated importance weight (TIS)."),
    _gauge("rlvr_learner_gradient_norm", "Global gradient norm before clipping, mean over the step's updates."),
    _gauge("rlvr_learner_learning_rate", "Learning rate of the step's last update."),
    _gauge("rlvr_learner_selected_tokens_ratio", "Share of completion tokens that receive a policy gradient."),
    _gauge(
        "rlvr_learner_selected_by_completion_ratio",
        "The same of each completion: min, mean and max over completions.",
        "statistic",
    ),
    _gauge("rlvr_learner_mgpo_weight_mean", "Mean weight of the trained groups' advantages (MGPO)."),
    _gauge("rlvr_learner_malformed_ratio", "Share of completions without a readable answer, cut off ones left out."),
    _gauge("rlvr_learner_repetition_ratio", "Share of a completion's 20-grams that it already had; mean."),
    _gauge("rlvr_learner_completion_tokens_by_outcome_mean", "Mean completion length by correctness.", "correct"),
    _gauge("rlvr_learner_completion_tokens_by_difficulty_mean", "Mean completion length by difficulty.", "difficulty"),
    _gauge("rlvr_learner_accuracy_by_difficulty_ratio", "Correct share of trained completions.", "difficulty"),
    _gauge("rlvr_learner_groups_by_difficulty_ratio", "Share of trained groups that are so difficult.", "difficulty"),
    _gauge("rlvr_learner_groups_by_correct", "Judged groups, dropped ones too, by correct completions.", "correct"),
    _gauge("rlvr_learner_groups_solved_ratio", "Share of judged groups solved: none, some, all.", "solved"),
    _gauge("rlvr_learner_length_target_tokens", "Target length that rewarded the step (Laser-D).", "difficulty"),
    _gauge("rlvr_learner_within_target_ratio", "Share of completions no longer than their target.", "correct"),
    _gauge("rlvr_learner_staleness_steps_max", "Steps between the oldest token's policy and the newest policy."),
    _gauge("rlvr_learner_train_tokens_per_second", "Completion tokens trained per second of the step."),
    _gauge(
        "rlvr_learner_step_seconds",
        "Where the time between two reports went; publish and checkpoint are those of the step before.",
        "phase",
    ),
    _gauge("rlvr_learner_resident_bytes", "Resident memory of the learner process."),
    _counter("rlvr_learner_tokens_total", "Completion tokens trained."),
    _gauge("rlvr_checkpoint_step", "Step of the newest complete checkpoint."),
    _gauge("rlvr_checkpoint_bytes", "Size of the newest complete checkpoint."),
    _gauge("rlvr_checkpoint_timestamp_seconds", "Unix time when the newest checkpoint became complete."),
    _histogram("rlvr_checkpoint_upload_seconds", "From staged to READY."),
    _counter("rlvr_checkpoint_errors_total", "Failed attempts to reach the checkpoint store."),
    # The coordinator.
    _counter("rlvr_coordinator_groups_total", "Groups consumed, by what became of them.", "fate"),
    _counter(
        "rlvr_coordinator_solved_groups_total",
        "Groups consumed, by how many of their judged completions are right: none, some, all.",
        "fate",
        "solved",
    ),
    _histogram(
        "rlvr_coordinator_group_accuracy_ratio",
        "Correct share of a group's judged completions.",
        "fate",
        buckets=_EIGHTHS,
    ),
    _counter(
        "rlvr_coordinator_regenerated_groups_total", "Groups asked for again because a rollout was lost or stale."
    ),
    _counter("rlvr_coordinator_completion_tokens_total", "Completion tokens received from rollouts."),
    _counter("rlvr_coordinator_judge_retries_total", "Groups sent to a judge again because none answered."),
    _gauge("rlvr_coordinator_groups_in_flight", "Groups asked for and not yet judged."),
    _gauge("rlvr_coordinator_groups_waiting", "Groups accepted and not yet handed to the learner."),
    _gauge("rlvr_coordinator_rollouts", "Rollout replicas by state.", "state"),
    _gauge("rlvr_coordinator_evaluation_accuracy_ratio", "Held-out accuracy of the newest evaluation."),
    _gauge("rlvr_coordinator_evaluation_pass_ratio", "Held-out pass@k of the newest evaluation, k above 1.", "k"),
    _gauge("rlvr_coordinator_length_target_tokens", "Newest target length (Laser-D).", "difficulty"),
    _gauge("rlvr_coordinator_monitor_prompts", "Monitor prompts behind the newest target lengths.", "difficulty"),
    _histogram("rlvr_coordinator_exam_seconds", "All prompts of an evaluation or a monitoring.", "purpose"),
    _gauge("rlvr_coordinator_completion_tokens_per_second", "Completion tokens received per second, newest step."),
    _histogram("rlvr_coordinator_generate_seconds", "One group at a rollout, from request to answer."),
    _histogram("rlvr_coordinator_judge_seconds", "One group at the reward service."),
    _histogram("rlvr_coordinator_policy_update_seconds", "One replica moved to a new policy."),
    _histogram(
        "rlvr_coordinator_completion_length_tokens", "Completion lengths in tokens.", "outcome", buckets=_TOKENS
    ),
    # The rollout agent.
    _gauge("rlvr_rollout_policy_step", "Finished steps of the policy the engine serves."),
    _gauge("rlvr_rollout_requests_in_flight", "Generation requests being answered."),
    _histogram("rlvr_rollout_policy_fetch_seconds", "Policy download to local disk, checks included."),
    _histogram("rlvr_rollout_pause_seconds", "Generation paused for a policy update."),
    _gauge(
        "rlvr_rollout_probe_difference_nats", "Engine against learner on fixed tokens after the newest update, mean."
    ),
    _counter("rlvr_rollout_policy_errors_total", "Policy updates that failed."),
    # The local engine.
    _counter("rlvr_engine_generated_tokens_total", "Tokens sampled."),
    _counter("rlvr_engine_prompt_tokens_total", "Prompt tokens processed."),
    _gauge("rlvr_engine_sequences_running", "Sequences being decoded."),
    _gauge("rlvr_engine_sequences_waiting", "Sequences waiting for a slot."),
    # The reward service.
    _counter("rlvr_reward_verdicts_total", "Verdicts, by verifier and outcome.", "verifier", "outcome"),
    _histogram("rlvr_reward_verify_seconds", "One item in a worker.", "verifier"),
    _gauge("rlvr_reward_queue_items", "Items waiting for a worker."),
    _counter("rlvr_reward_workers_killed_total", "Workers killed, by reason.", "reason"),
    _gauge("rlvr_reward_jail_layer", "Whether the jail of model-written code has a layer on this machine.", "layer"),
)

_ROWS: Final = {row.name: row for row in TABLE}


def labelled(name: str, **labels: str) -> str:
    """The key of a labelled value in a StepReport.  Label values are plain words and numbers."""
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in sorted(labels.items())) + "}"


def parse_key(key: str) -> tuple[str, dict[str, str]]:
    """Name and labels of a StepReport's key."""
    name, _, inside = key.removesuffix("}").partition("{")
    pairs = (pair.split("=") for pair in inside.split(",") if pair)
    return name, {label: value.strip('"') for label, value in pairs}


class Board:
    """The metrics of one process; a name that is not in TABLE is a programming error.

    Counters that begin with one of `own` and have no labels are there from the start: an event that happens once is an
    increase only for who has seen the zero before it.
    """

    def __init__(self, *own: str) -> None:
        self._registry = CollectorRegistry()
        self._live: dict[str, Counter | Gauge | Histogram] = {}
        self._renewed: frozenset[str] = frozenset()
        for row in TABLE:
            if row.kind is Kind.COUNTER and not row.labels and row.name.startswith(own):
                self._metric(row.name)

    def _metric(self, name: str) -> Counter | Gauge | Histogram:
        if name not in self._live:
            self._live[name] = _build(_ROWS[name], self._registry)
        return self._live[name]

    def set(self, name: str, value: float, **labels: str) -> None:
        """Give a gauge its newest value."""
        metric = self._metric(name)
        assert isinstance(metric, Gauge), f"{name} is not a gauge"
        (metric.labels(**labels) if labels else metric).set(value)

    def renew(self, values: Mapping[str, float]) -> None:
        """Set gauges by their keys in a StepReport; those of the previous call that have no value now disappear."""
        for key in self._renewed - values.keys():
            self._forget(key)
        for key, value in values.items():
            name, labels = parse_key(key)
            self.set(name, value, **labels)
        self._renewed = frozenset(values)

    def _forget(self, key: str) -> None:
        name, labels = parse_key(key)
        if labels:
            self._live[name].remove(*(labels[label] for label in _ROWS[name].labels))
        else:
            self._registry.unregister(self._live.pop(name))

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count `amount` more."""
        metric = self._metric(name)
        assert isinstance(metric, Counter), f"{name} is not a counter"
        (metric.labels(**labels) if labels else metric).inc(amount)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Put one value into a histogram."""
        metric = self._metric(name)
        assert isinstance(metric, Histogram), f"{name} is not a histogram"
        (metric.labels(**labels) if labels else metric).observe(value)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)


def _build(row: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    match row.kind:
        case Kind.COUNTER:
            return Counter(row.name, row.description, row.labels, registry=registry)
        case Kind.GAUGE:
            return Gauge(row.name, row.description, row.labels, registry=registry)
        case Kind.HISTOGRAM:
            return Histogram(row.name, row.description, row.labels, registry=registry, buckets=row.buckets)

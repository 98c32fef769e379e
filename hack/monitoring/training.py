"""The training dashboard: everything that the learner and evaluations say about a job."""

from __future__ import annotations

from typing import Final

from monitoring.learning import LEARNS, LENGTHS, PROMPTS
from monitoring.panels import Dashboard, Query, Row, layers, panel
from monitoring.queries import ALL_JOBS, JOB

EXPLORES: Final = Row(
    "Does it still explore?",
    (
        panel(
            "Does entropy hold?",
            JOB.newest("rlvr_learner_entropy_nats", words="mean"),
            JOB.newest(
                "rlvr_learner_entropy_quantile_nats", "quantile", matchers='quantile=~"0.5|0.8|0.95"', words="q"
            ),
            unit="none",
            description="Nats a token of the policy that starts the step.  Near zero it repeats one answer; a rise "
            "without end is decay of another kind.",
        ),
        panel(
            "What are forking tokens?",
            JOB.newest("rlvr_learner_entropy_threshold_nats", words="threshold"),
            JOB.newest("rlvr_learner_entropy_class_threshold_nats", "statistic", words="threshold"),
            JOB.newest("rlvr_learner_entropy_by_class_nats", "class", words="mean"),
            unit="none",
            description="Nats.  The 80/20 rule has one threshold for the step; Archer has one for each completion, "
            "shown as least, mean and greatest.  `high` and `low` are the mean entropies of the two classes.",
        ),
        panel(
            "How many tokens are trained?",
            JOB.newest("rlvr_learner_selected_tokens_ratio", words="selected"),
            JOB.newest("rlvr_learner_selected_by_completion_ratio", "statistic", words="a completion's"),
            JOB.newest("rlvr_learner_high_entropy_tokens_ratio", words="high entropy"),
            unit="percentunit",
            description="Completion tokens that receive a policy gradient, of the step and of single completions, and "
            "those in the class of high entropy.",
        ),
        panel(
            "Are the forks still the base model's?",
            JOB.newest("rlvr_learner_entropy_overlap_ratio"),
            unit="percentunit",
            description="The base model's most uncertain fifth of a fixed set of tokens that the policy has in its "
            "own.  Measured every 10 steps and at the last.",
        ),
    ),
)
TRUST: Final = Row(
    "Does the trust region hold?",
    (
        panel(
            "Which bound clips?",
            JOB.newest("rlvr_learner_clipped_ratio", words="any"),
            JOB.newest("rlvr_learner_clipped_by_bound_ratio", "bound"),
            JOB.newest("rlvr_learner_dual_clipped_ratio", words="dual"),
            unit="percentunit",
            description="Trained tokens whose gradient was stopped.  Zero with one minibatch a step; above a few per "
            "cent the policy moves far in a step.",
        ),
        panel(
            "Which class of tokens clips?",
            JOB.newest("rlvr_learner_clipped_by_class_ratio", "class", "bound"),
            unit="percentunit",
            description="The same by class of entropy.  Forking tokens move most, so `high` clips first.",
        ),
        panel(
            "How far from the reference?",
            JOB.newest("rlvr_learner_kl_reference_nats", words="all"),
            JOB.newest("rlvr_learner_kl_reference_by_class_nats", "class"),
            unit="none",
            description="Mean k3 estimate, nats a token, where the recipe has a KL term.",
        ),
        panel(
            "Do sampler and learner agree?",
            JOB.newest("rlvr_learner_mismatch_kl_nats"),
            unit="sci",
            description="KL between the log-probabilities completions were sampled with and the learner's own for the "
            "same tokens, nats a token.  Above 0.05 it trains on what another policy said.",
        ),
        panel(
            "How much do importance weights correct?",
            JOB.newest("rlvr_learner_importance_weight_mean"),
            unit="none",
            description="Mean truncated weight; 1 means that sampler and learner agree.",
        ),
        panel(
            "How stale is what it trains on?",
            JOB.newest("rlvr_learner_staleness_steps_max"),
            unit="none",
            description="Steps between the oldest token's policy and the one that starts the step; at most "
            "`training.maxStaleness`.",
        ),
    ),
)
TIME: Final = Row(
    "Where does its time go?",
    (
        panel(
            "How fast is it?",
            JOB.newest("rlvr_learner_train_tokens_per_second", words="while learning"),
            JOB.newest("rlvr_coordinator_completion_tokens_per_second", words="sampled"),
            JOB.rate("rlvr_learner_tokens_total", words="over all time"),
            unit="none",
            description="Completion tokens a second: trained while the learner learns, sampled, and trained with all "
            "waiting included.",
        ),
        layers(
            "What does a step spend its time on?",
            ALL_JOBS.mean("rlvr_learner_step_seconds", "phase"),
            unit="s",
            description="Seconds between two reports by phase; publish and checkpoint are those of the step before.  "
            "`wait` is for rollouts and judges.",
        ),
        panel(
            "How much memory does the learner hold?",
            JOB.newest("rlvr_learner_resident_bytes"),
            unit="bytes",
            description="Resident memory of the process, without its devices'.",
        ),
    ),
)
SAFETY: Final = Row(
    "Are checkpoints safe?",
    (
        panel(
            "How old is the newest checkpoint?",
            Query(
                "time() - max by (namespace, rlvr_job) (rlvr_checkpoint_timestamp_seconds{$job})",
                "{{rlvr_job}}",
            ),
            unit="s",
            description="What a failure of the learner would cost in time.",
        ),
        panel(
            "Is the store in trouble?",
            JOB.increase("rlvr_checkpoint_errors_total"),
            unit="none",
            description="Failed attempts to reach the checkpoint store in five minutes.",
        ),
        panel(
            "How large are checkpoints?",
            JOB.newest("rlvr_checkpoint_bytes"),
            unit="bytes",
            description="Bytes of the newest complete checkpoint.",
        ),
        panel(
            "How long do uploads take?",
            JOB.quantiles("rlvr_checkpoint_upload_seconds"),
            unit="s",
            description="From staged to READY.  Longer than the steps between two checkpoints, the next one waits.",
        ),
    ),
)
TRAINING: Final = Dashboard(
    name="training",
    title="RLVR / Training",
    description="Does a job learn, from what, how stably, and where does its time go?",
    rows=(LEARNS, PROMPTS, LENGTHS, EXPLORES, TRUST, TIME, SAFETY),
    about_jobs=True,
)

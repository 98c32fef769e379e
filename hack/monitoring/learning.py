"""Rows of the training dashboard about what a job learns from, and what comes of it."""

from __future__ import annotations

from typing import Final

from monitoring.panels import Query, Row, layers, panel
from monitoring.queries import ALL_JOBS, JOB

LEARNS: Final = Row(
    "Does it learn?",
    (
        panel(
            "How far is it?",
            JOB.newest("rlvr_learner_step"),
            JOB.newest("rlvr_checkpoint_step", words="checkpoint"),
            unit="none",
            description="Finished steps, and the step of the newest complete checkpoint: what lies between would be "
            "trained again after a failure.",
        ),
        panel(
            "Does the reward rise?",
            JOB.newest("rlvr_learner_reward_mean"),
            unit="none",
            description="Mean reward of the step's completions, shaping of lengths included.  Compare jobs of the same "
            "reward only.",
        ),
        panel(
            "Are more answers right?",
            JOB.newest("rlvr_learner_accuracy_ratio", words="training"),
            JOB.newest("rlvr_coordinator_evaluation_accuracy_ratio", words="held out"),
            unit="percentunit",
            description="Correct share of all that was sampled for a step, dropped groups too, and of held-out "
            "prompts. Training that rises alone is learnt by heart.",
        ),
        panel(
            "Does another try help?",
            Query(
                "max by (namespace, rlvr_job, k) (rlvr_coordinator_evaluation_pass_ratio{$job})",
                "{{rlvr_job}} pass@{{k}}",
            ),
            unit="percentunit",
            description="Held-out prompts that one of k tries solves, where `data.eval.completions` is above 1.  When "
            "accuracy rises and this falls, the policy only becomes surer of what it could do before.",
        ),
        panel(
            "Which difficulty improves?",
            JOB.newest("rlvr_learner_accuracy_by_difficulty_ratio", "difficulty"),
            unit="percentunit",
            description="Correct share of trained completions by difficulty of their group.  Difficulty is itself "
            "told by correct completions, so each line stays within its band; it is the shares of groups that move.",
        ),
        panel(
            "Is the optimizer calm?",
            JOB.newest("rlvr_learner_gradient_norm", words="gradient norm"),
            JOB.newest("rlvr_learner_loss", words="loss"),
            unit="none",
            description="Gradient norm before clipping, and the loss as minimised.  The loss of a policy gradient says "
            "little by itself; a norm that jumps says that something is wrong with a batch.",
        ),
        panel(
            "How large are steps?",
            JOB.newest("rlvr_learner_learning_rate"),
            unit="sci",
            description="Learning rate of the step's last update.",
        ),
    ),
)
PROMPTS: Final = Row(
    "Are the prompts right for it?",
    (
        layers(
            "Are prompts of the right difficulty?",
            ALL_JOBS.mean("rlvr_learner_groups_solved_ratio", "solved"),
            unit="percentunit",
            description="Judged groups, dropped ones too, by how many of their completions are right.  Only `some` "
            "gives a group baseline something to learn from.",
        ),
        layers(
            "How many of a group are right?",
            ALL_JOBS.total("rlvr_learner_groups_by_correct", "correct"),
            unit="none",
            description="Groups of the newest step by their number of correct completions.",
        ),
        layers(
            "How difficult is what it trains on?",
            ALL_JOBS.mean("rlvr_learner_groups_by_difficulty_ratio", "difficulty"),
            unit="percentunit",
            description="Trained groups by difficulty.  While it learns, hard ones become medium and medium ones easy.",
        ),
        panel(
            "Do the groups that matter weigh more?",
            JOB.newest("rlvr_learner_mgpo_weight_mean"),
            unit="none",
            description="MGPO only: mean weight of the trained groups' advantages; 1 if half of each group is right.",
        ),
    ),
)
LENGTHS: Final = Row(
    "How long are answers?",
    (
        panel(
            "Do right answers get longer than wrong ones?",
            JOB.newest("rlvr_learner_completion_tokens_by_outcome_mean", "correct", words="correct:"),
            JOB.newest("rlvr_learner_completion_tokens_mean", words="all"),
            unit="none",
            description="Mean tokens.  Wrong answers that grow alone are reward lost to rambling.",
        ),
        panel(
            "Are answers cut off or repetitive?",
            JOB.newest("rlvr_learner_truncated_ratio", words="cut off"),
            JOB.newest("rlvr_learner_malformed_ratio", words="unreadable"),
            JOB.newest("rlvr_learner_repetition_ratio", words="repeated"),
            unit="percentunit",
            description="Completions that met the token limit; others without a readable answer; and the share of a "
            "completion's 20-grams that it had before.",
        ),
        panel(
            "How are lengths distributed?",
            JOB.quantiles("rlvr_coordinator_completion_length_tokens", percents=(50, 95, 99)),
            JOB.newest("rlvr_learner_completion_tokens_max", words="longest"),
            unit="none",
            description="Percentiles of what rollouts return, by doubling buckets, so they are rough; the longest of a "
            "step is exact.",
        ),
        panel(
            "Do length targets hold?",
            JOB.newest("rlvr_learner_length_target_tokens", "difficulty", words="target"),
            JOB.newest("rlvr_learner_completion_tokens_by_difficulty_mean", "difficulty", words="mean"),
            unit="none",
            description="Laser-D's targets that rewarded the step, and mean lengths, by difficulty.",
        ),
        panel(
            "Are answers within their target?",
            JOB.newest("rlvr_learner_within_target_ratio", "correct", words="correct:"),
            unit="percentunit",
            description="Laser-D only: completions no longer than their target.",
        ),
        panel(
            "What will the next targets be?",
            JOB.newest("rlvr_coordinator_length_target_tokens", "difficulty", words="tokens"),
            JOB.newest("rlvr_coordinator_monitor_prompts", "difficulty", words="prompts"),
            unit="none",
            description="Laser-D's newest targets, and how many monitor prompts each of them rests on.  Few prompts "
            "make a target jump.",
        ),
    ),
)

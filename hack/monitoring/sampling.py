"""The dashboards of what surrounds the learner: rollouts, and the rewards that judge them."""

from __future__ import annotations

from typing import Final

from monitoring.panels import Dashboard, Query, Row, layers, panel
from monitoring.queries import ALL_JOBS, JOB

REPLICAS: Final = Row(
    "Do replicas follow the learner?",
    (
        layers(
            "In what state are replicas?",
            ALL_JOBS.total("rlvr_coordinator_rollouts", "state"),
            unit="none",
            description="joining: never answered yet; updating: answers, with another policy than the wanted one; "
            "lost: failed a request or stopped answering.",
        ),
        panel(
            "Which policy does each replica serve?",
            Query("rlvr_rollout_policy_step{$job}", "{{rlvr_job}} {{instance}}"),
            JOB.newest("rlvr_learner_step", words="learner"),
            unit="none",
            description="Finished steps of the policy that the engine holds.  A replica that falls behind samples for "
            "nothing.",
        ),
        panel(
            "What does a policy update cost?",
            JOB.average("rlvr_rollout_policy_fetch_seconds", words="fetch"),
            JOB.average("rlvr_rollout_pause_seconds", words="pause"),
            JOB.average("rlvr_coordinator_policy_update_seconds", words="whole"),
            unit="s",
            description="Means: download to local disk while sampling goes on, generation paused, and the whole as the "
            "coordinator sees it.",
        ),
        panel(
            "Do policy updates fail?",
            JOB.increase("rlvr_rollout_policy_errors_total"),
            unit="none",
            description="Failed updates in five minutes.",
        ),
        panel(
            "Did the engine take the policy?",
            JOB.newest("rlvr_rollout_probe_difference_nats"),
            unit="sci",
            description="Engine against learner on fixed tokens after the newest update, nats; of several replicas the "
            "worst.  A replica that is too far off is given up.",
        ),
        panel(
            "How do evaluations burden the rollouts?",
            JOB.rate("rlvr_coordinator_exam_seconds_sum", "purpose"),
            unit="percentunit",
            description="Share of time in which held-out or monitor prompts are sampled.",
        ),
    ),
)
GENERATION: Final = Row(
    "Do they sample fast enough?",
    (
        panel(
            "How many tokens a second?",
            JOB.rate("rlvr_coordinator_completion_tokens_total", words="received"),
            JOB.rate("rlvr_engine_generated_tokens_total", words="generated"),
            JOB.rate("rlvr_engine_prompt_tokens_total", words="prompt"),
            unit="none",
            description="Tokens of completions that the coordinator received and, with `rlvr run`, what the local "
            "engine sampled and read.  Generated above received is lost work and evaluations.",
        ),
        panel(
            "How long does a group take?",
            JOB.quantiles("rlvr_coordinator_generate_seconds"),
            unit="s",
            description="One group at a rollout, from request to answer.",
        ),
        panel(
            "Are engines full?",
            JOB.total("rlvr_rollout_requests_in_flight", words="requests"),
            JOB.total("rlvr_engine_sequences_running", words="running"),
            JOB.total("rlvr_engine_sequences_waiting", words="waiting"),
            unit="none",
            description="Requests at the agents and, with `rlvr run`, sequences in the local engine.  Many waiting: "
            "more replicas.  None running: the learner or the judges hold things up.",
        ),
    ),
)
GROUPS: Final = Row(
    "What becomes of groups?",
    (
        panel(
            "Is the learner fed?",
            JOB.newest("rlvr_coordinator_groups_in_flight", words="in flight"),
            JOB.newest("rlvr_coordinator_groups_waiting", words="waiting"),
            unit="none",
            description="Groups asked for and not yet judged; groups accepted and not yet handed to the learner.",
        ),
        layers(
            "Are prompts wasted?",
            ALL_JOBS.rate("rlvr_coordinator_groups_total", "fate"),
            unit="none",
            description="Groups a second by what became of them.  `trained` is used; `flat` was all right or all "
            "wrong; `error` could not be judged.",
        ),
        panel(
            "What is lost on the way?",
            JOB.increase("rlvr_coordinator_regenerated_groups_total"),
            unit="none",
            description="Groups asked for again in five minutes because a rollout was lost or answered with a policy "
            "that is too old.",
        ),
    ),
)
ROLLOUTS: Final = Dashboard(
    name="rollouts",
    title="RLVR / Rollouts",
    description="Do replicas follow the learner, do they sample fast enough, and what becomes of groups?",
    rows=(REPLICAS, GENERATION, GROUPS),
    about_jobs=True,
)

VERDICTS: Final = Row(
    "What is the verdict?",
    (
        layers(
            "How are answers judged?",
            ALL_JOBS.rate("rlvr_reward_verdicts_total", "outcome"),
            unit="none",
            description="Verdicts a second.  An error is a verifier that broke, never a wrong answer.",
        ),
        panel(
            "Which verifier says so?",
            JOB.rate("rlvr_reward_verdicts_total", "verifier", "outcome"),
            unit="none",
            description="Verdicts a second by verifier.  `unknown`: the worker died before it said which was at work.",
        ),
        panel(
            "How right are groups?",
            JOB.average("rlvr_coordinator_group_accuracy_ratio", "fate"),
            unit="percentunit",
            description="Mean correct share of groups by what became of them.",
        ),
        layers(
            "Why are groups dropped?",
            ALL_JOBS.rate("rlvr_coordinator_solved_groups_total", "solved", matchers='fate!="trained"'),
            unit="none",
            description="Groups a second that are not trained, by how many of their completions are right.  All: the "
            "prompts are learnt; none: too hard, or the verifier cannot read the answers.",
        ),
    ),
)
JUDGES: Final = Row(
    "Do judges keep up?",
    (
        panel(
            "How long does an item take?",
            JOB.quantiles("rlvr_reward_verify_seconds", "verifier"),
            unit="s",
            description="One completion in a worker.",
        ),
        panel(
            "How long does a group wait for its verdicts?",
            JOB.quantiles("rlvr_coordinator_judge_seconds"),
            unit="s",
            description="One group at the reward service, the queue included.",
        ),
        panel(
            "Is there a queue?",
            JOB.total("rlvr_reward_queue_items"),
            unit="none",
            description="Completions that wait for a worker.  If it does not empty: more `reward.replicas`.",
        ),
        panel(
            "Do groups have to be judged again?",
            JOB.increase("rlvr_coordinator_judge_retries_total"),
            unit="none",
            description="Groups sent to a judge again in five minutes because none answered.",
        ),
        panel(
            "Do workers have to be killed?",
            JOB.increase("rlvr_reward_workers_killed_total", "reason"),
            unit="none",
            description="Workers killed in five minutes: they exceeded the deadline, or ended by themselves (crash).",
        ),
        panel(
            "Which layers has the jail?",
            Query("min by (namespace, rlvr_job, layer) (rlvr_reward_jail_layer{$job})", "{{rlvr_job}} {{layer}}"),
            unit="none",
            description="1 where the machine of every reward replica has the layer of the jail for model-written code, "
            "else 0.",
        ),
    ),
)
REWARDS: Final = Dashboard(
    name="rewards",
    title="RLVR / Rewards",
    description="What is the verdict, and do judges keep up?",
    rows=(VERDICTS, JUDGES),
    about_jobs=True,
)

"""Alerts as Prometheus' rules: each names what is wrong, what follows from it, and the page that says what to do.

critical: devices idle or nobody is in charge, now.  warning: something is lost if nobody looks today.  info: the run is
right, and could be better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_JOB: Final = "{{ $labels.namespace }}/{{ $labels.rlvr_job }}"
_OF_JOB: Final = "by (namespace, rlvr_job)"
_OF_OPERATOR: Final = "by (namespace, job"
RUNBOOKS: Final = "docs/runbooks/"
"""Where pages are; the chart puts an address in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule."""

    name: str
    severity: str
    when: str
    """Holds when something is wrong."""
    lasting: str = ""
    """For so long."""
    summary: str
    """Who and what, in a line."""
    description: str
    """What follows from it."""


OPERATOR: Final = (
    Alert(
        name="RLVROperatorDown",
        severity="critical",
        when="absent(rlvr_operator_leader)",
        lasting="5m",
        summary="No replica of the RLVR operator is there to be scraped.",
        description="Jobs that run go on training, but nothing that fails is replaced, and no job starts, suspends "
        "or is cleaned up.",
    ),
    Alert(
        name="RLVROperatorNoLeader",
        severity="critical",
        when=f"sum {_OF_OPERATOR}) (rlvr_operator_leader) != 1",
        lasting="2m",
        summary="{{ $value }} replicas of the RLVR operator in {{ $labels.namespace }} lead; one should.",
        description="Without a leader no job is looked at.",
    ),
    Alert(
        name="RLVROperatorDeaf",
        severity="warning",
        when=f"max {_OF_OPERATOR}, pod, resource) (rlvr_operator_watch_age_seconds) > 150",
        summary="The RLVR operator {{ $labels.pod }} has not heard of {{ $labels.resource }} for "
        "{{ $value | humanizeDuration }}.",
        description="It acts on what it knew then.",
    ),
    Alert(
        name="RLVROperatorSlow",
        severity="warning",
        when="histogram_quantile(0.99, sum by (namespace, job, le) "
        "(rate(rlvr_operator_event_to_reconcile_seconds_bucket[5m]))) > 30",
        lasting="10m",
        summary="The RLVR operator in {{ $labels.namespace }} looks at events after {{ $value | humanizeDuration }}.",
        description="One event in a hundred waits that long: pods are replaced late, and statuses lag behind.",
    ),
    Alert(
        name="RLVROperatorErrors",
        severity="warning",
        when=f"sum {_OF_OPERATOR}, kind) "
        '(increase(rlvr_operator_reconcile_errors_total{kind!~"Conflict|Missing|LeadershipLost"}[8m])) > 0',
        lasting="10m",
        summary="The RLVR operator in {{ $labels.namespace }} fails to look at jobs: {{ $labels.kind }}.",
        description="Each is tried again with longer and longer pauses, so jobs are late but not lost.",
    ),
    Alert(
        name="RLVRObjectsRefused",
        severity="warning",
        when=f"sum {_OF_OPERATOR}, code) (increase(rlvr_operator_refusals_total[15m])) > 0",
        lasting="20m",
        summary="The API server refuses objects of RLVR jobs with code {{ $labels.code }}.",
        description="A child of a job cannot be made.  The job's status has the API server's own words.",
    ),
    Alert(
        name="RLVRCoordinatorsSilent",
        severity="warning",
        when=f'sum {_OF_OPERATOR}) (rate(rlvr_operator_progress_requests_total{{outcome="unknown"}}[5m]))'
        f" / sum {_OF_OPERATOR}) (rate(rlvr_operator_progress_requests_total[5m])) > 0.5",
        lasting="15m",
        summary="{{ $value | humanizePercentage }} of the RLVR operator's questions to coordinators have no answer.",
        description="Statuses are old, and jobs that were heard before will be taken for hung.",
    ),
    Alert(
        name="RLVRJobsPending",
        severity="info",
        when=f'max {_OF_OPERATOR}) (rlvr_operator_jobs{{phase="Pending"}}) > 0',
        lasting="1h",
        summary="{{ $value }} RLVR jobs are Pending.",
        description="They wait for quota, nodes, images or a gang.  In a cluster with a queue that is normal.",
    ),
)
JOBS: Final = (
    Alert(
        name="RLVRNoProgress",
        severity="critical",
        when=f"sum {_OF_JOB} (increase(rlvr_learner_tokens_total[5m])) == 0",
        lasting="40m",
        summary=f"{_JOB} has finished no step for 45 minutes.",
        description="Its devices are held and nothing is learnt, unless a step really takes so long.",
    ),
    Alert(
        name="RLVRNoRollouts",
        severity="critical",
        when=f'sum {_OF_JOB} (rlvr_coordinator_rollouts{{state=~"ready|updating"}}) == 0',
        lasting="10m",
        summary=f"No rollout replica of {_JOB} answers.",
        description="The learner waits with its devices held.",
    ),
    Alert(
        name="RLVRCheckpointOld",
        severity="warning",
        when=f"time() - max {_OF_JOB} (rlvr_checkpoint_timestamp_seconds) > 7200 and "
        f"max {_OF_JOB} (rlvr_learner_step) > max {_OF_JOB} (rlvr_checkpoint_step)",
        lasting="5m",
        summary=f"The newest checkpoint of {_JOB} is {{{{ $value | humanizeDuration }}}} old.",
        description="A failure of the learner would cost all steps since.  No prompt is lost or repeated.",
    ),
    Alert(
        name="RLVRCheckpointErrors",
        severity="warning",
        when=f"sum {_OF_JOB} (increase(rlvr_checkpoint_errors_total[15m])) >= 3",
        summary=f"{_JOB} could not reach its checkpoint store {{{{ $value | humanize }}}} times in 15 minutes.",
        description="Training goes on until the next checkpoint is due, and then waits for the store.",
    ),
    Alert(
        name="RLVRRolloutBehind",
        severity="warning",
        when=f"max {_OF_JOB} (rlvr_learner_step) - on (namespace, rlvr_job) group_right () "
        "rlvr_rollout_policy_step > 20",
        lasting="10m",
        summary=f"A rollout of {_JOB}, {{{{ $labels.instance }}}}, serves a policy {{{{ $value }}}} steps old.",
        description="It cannot fetch policies, and the other replicas do all the work.",
    ),
    Alert(
        name="RLVRVerifierErrors",
        severity="warning",
        when='sum by (namespace, rlvr_job, verifier) (rate(rlvr_reward_verdicts_total{outcome="error"}[10m]))'
        f" / on (namespace, rlvr_job) group_left () max {_OF_JOB} "
        "(sum by (namespace, rlvr_job, verifier) (rate(rlvr_reward_verdicts_total[10m]))) > 0.1",
        lasting="10m",
        summary=f"{_JOB}: the verifier {{{{ $labels.verifier }}}} fails on {{{{ $value | humanizePercentage }}}} of "
        "the answers.",
        description="An error is a verifier that broke, not a wrong answer.  Its group is dropped.",
    ),
    Alert(
        name="RLVRSamplerDisagrees",
        severity="warning",
        when=f"max {_OF_JOB} (rlvr_learner_mismatch_kl_nats) > 0.05",
        lasting="15m",
        summary=f"Sampler and learner of {_JOB} differ by {{{{ $value | humanize }}}} nats a token.",
        description="The job trains on what another policy said.",
    ),
    Alert(
        name="RLVRLearnerStarves",
        severity="info",
        when=f'sum {_OF_JOB} (rlvr_learner_step_seconds{{phase="wait"}})'
        f" / sum {_OF_JOB} (rlvr_learner_step_seconds) > 0.9",
        lasting="30m",
        summary=f"The learner of {_JOB} waits {{{{ $value | humanizePercentage }}}} of its time.",
        description="Its devices are idle.  The run is right, and slower than it could be.",
    ),
    Alert(
        name="RLVRNothingToLearn",
        severity="info",
        when=f'max {_OF_JOB} (rlvr_learner_groups_solved_ratio{{solved="some"}}) < 0.1',
        lasting="30m",
        summary=f"{{{{ $value | humanizePercentage }}}} of the groups of {_JOB} are neither all right nor all wrong.",
        description="The others give a group baseline no signal: sampling is paid for and dropped.",
    ),
    Alert(
        name="RLVRAnswersCutOff",
        severity="info",
        when=f"max {_OF_JOB} (rlvr_learner_truncated_ratio) > 0.5",
        lasting="30m",
        summary=f"{{{{ $value | humanizePercentage }}}} of the completions of {_JOB} are cut off by the token limit.",
        description="They are judged wrong for their length, whatever they say.",
    ),
)
ALERTS: Final = (*OPERATOR, *JOBS)


def rules() -> dict[str, Any]:
    """The file that Prometheus loads."""
    groups = {"rlvr-operator": OPERATOR, "rlvr-jobs": JOBS}
    return {"groups": [{"name": name, "rules": [_rule(it) for it in alerts]} for name, alerts in groups.items()]}


def _rule(alert: Alert) -> dict[str, Any]:
    annotations = {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": f"{RUNBOOKS}{alert.name}.md",
    }
    return {
        "alert": alert.name,
        "expr": alert.when,
        **({"for": alert.lasting} if alert.lasting else {}),
        "labels": {"severity": alert.severity},
        "annotations": annotations,
    }

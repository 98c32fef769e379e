"""Each alert fires for what it is about, says whom it is about, and is silent otherwise: promtool runs the rules."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from monitoring.__main__ import FILES
from monitoring.alerts import ALERTS, Alert

Series = dict[str, str]
"""What is scraped each minute, in promtool's notation: `0+5x10` begins at 0 and grows by 5 ten times."""
BY_NAME: Final = {alert.name: alert for alert in ALERTS}
OPERATOR: Final = 'namespace="rlvr-system",job="rlvr-operator"'
OF_OPERATOR: Final = {"namespace": "rlvr-system", "job": "rlvr-operator"}
JOB: Final = 'namespace="team",rlvr_job="sums"'
OF_JOB: Final = {"namespace": "team", "rlvr_job": "sums"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is scraped when an alert should fire, and when it should not."""

    fires: Series
    silent: Series
    at: str
    """When it has just begun to fire."""
    about: dict[str, str] = field(default_factory=dict)
    """Its labels beside name and severity."""
    summary: str


CASES: Final[dict[str, Case]] = {
    "RLVROperatorDown": Case(
        fires={f"rlvr_operator_leader{{{OPERATOR}}}": "1x2 _x20"},
        silent={f"rlvr_operator_leader{{{OPERATOR}}}": "0x30"},
        at="15m",
        summary="No replica of the RLVR operator is there to be scraped.",
    ),
    "RLVROperatorNoLeader": Case(
        fires={f'rlvr_operator_leader{{{OPERATOR},pod="{pod}"}}': "0x10" for pod in "ab"},
        silent={
            f'rlvr_operator_leader{{{OPERATOR},pod="a"}}': "1x5 0 0x4",
            f'rlvr_operator_leader{{{OPERATOR},pod="b"}}': "0x5 0 1x4",
        },
        at="8m",
        about=OF_OPERATOR,
        summary="0 replicas of the RLVR operator in rlvr-system lead; one should.",
    ),
    "RLVROperatorDeaf": Case(
        fires={f'rlvr_operator_watch_age_seconds{{{OPERATOR},pod="a",resource="pods"}}': "0+60x5"},
        silent={f'rlvr_operator_watch_age_seconds{{{OPERATOR},pod="a",resource="pods"}}': "0 60 120 0 60 120"},
        at="3m",
        about={**OF_OPERATOR, "pod": "a", "resource": "pods"},
        summary="The RLVR operator a has not heard of pods for 3m 0s.",
    ),
    "RLVROperatorSlow": Case(
        fires={
            f'rlvr_operator_event_to_reconcile_seconds_bucket{{{OPERATOR},le="{le}"}}': f"0+{seen}x30"
            for le, seen in (("30", 90), ("60", 100), ("+Inf", 100))
        },
        silent={
            f'rlvr_operator_event_to_reconcile_seconds_bucket{{{OPERATOR},le="{le}"}}': f"0+{seen}x30"
            for le, seen in (("30", 999), ("60", 1000), ("+Inf", 1000))
        },
        at="16m",
        about=OF_OPERATOR,
        summary="The RLVR operator in rlvr-system looks at events after 57s.",
    ),
    "RLVROperatorErrors": Case(
        fires={
            f'rlvr_operator_reconcile_errors_total{{{OPERATOR},kind="KeyError"}}': "0 0 0 1 1 1 1 1 1 2 2 2 2 2 2 3x9"
        },
        silent={
            f'rlvr_operator_reconcile_errors_total{{{OPERATOR},kind="Conflict"}}': "0+1x30",
            f'rlvr_operator_reconcile_errors_total{{{OPERATOR},kind="Unavailable"}}': "0 5 9 9x30",
        },
        at="14m",
        about={**OF_OPERATOR, "kind": "KeyError"},
        summary="The RLVR operator in rlvr-system fails to look at jobs: KeyError.",
    ),
    "RLVRObjectsRefused": Case(
        fires={f'rlvr_operator_refusals_total{{{OPERATOR},code="403"}}': "1 2 2 3 3 3 3 3 4 4 4 4 4 5 5 5 5 5 6 6x20"},
        silent={f'rlvr_operator_refusals_total{{{OPERATOR},code="403"}}': "1 2 3 4 4x30"},
        at="22m",
        about={**OF_OPERATOR, "code": "403"},
        summary="The API server refuses objects of RLVR jobs with code 403.",
    ),
    "RLVRCoordinatorsSilent": Case(
        fires={
            f'rlvr_operator_progress_requests_total{{{OPERATOR},outcome="unknown"}}': "0+3x30",
            f'rlvr_operator_progress_requests_total{{{OPERATOR},outcome="heard"}}': "0+1x30",
        },
        silent={
            f'rlvr_operator_progress_requests_total{{{OPERATOR},outcome="unknown"}}': "0+1x30",
            f'rlvr_operator_progress_requests_total{{{OPERATOR},outcome="heard"}}': "0+3x30",
        },
        at="17m",
        about=OF_OPERATOR,
        summary="75% of the RLVR operator's questions to coordinators have no answer.",
    ),
    "RLVRJobsPending": Case(
        fires={f'rlvr_operator_jobs{{{OPERATOR},pod="{pod}",phase="Pending"}}': "2x70" for pod in "ab"},
        silent={
            f'rlvr_operator_jobs{{{OPERATOR},pod="a",phase="Pending"}}': "1x30 _x10 1x30",
            f'rlvr_operator_jobs{{{OPERATOR},pod="a",phase="Running"}}': "1x70",
        },
        at="61m",
        about=OF_OPERATOR,
        summary="2 RLVR jobs are Pending.",
    ),
    "RLVRNoProgress": Case(
        fires={f"rlvr_learner_tokens_total{{{JOB}}}": "0 900 1800 1800x60"},
        silent={f"rlvr_learner_tokens_total{{{JOB}}}": "0x39 900x39"},
        at="47m",
        about=OF_JOB,
        summary="team/sums has finished no step for 45 minutes.",
    ),
    "RLVRNoRollouts": Case(
        fires={
            f'rlvr_coordinator_rollouts{{{JOB},state="lost"}}': "0x3 2x20",
            f'rlvr_coordinator_rollouts{{{JOB},state="ready"}}': "2x3 0x20",
            f'rlvr_coordinator_rollouts{{{JOB},state="updating"}}': "0x25",
        },
        silent={
            f'rlvr_coordinator_rollouts{{{JOB},state="lost"}}': "1x30",
            f'rlvr_coordinator_rollouts{{{JOB},state="ready"}}': "0x30",
            f'rlvr_coordinator_rollouts{{{JOB},state="updating"}}': "1x30",
        },
        at="15m",
        about=OF_JOB,
        summary="No rollout replica of team/sums answers.",
    ),
    "RLVRCheckpointOld": Case(
        fires={
            f'rlvr_checkpoint_timestamp_seconds{{{JOB},pod="old"}}': "0x5",
            f'rlvr_checkpoint_timestamp_seconds{{{JOB},pod="new"}}': "_x6 60x200",
            f"rlvr_checkpoint_step{{{JOB}}}": "10x200",
            f"rlvr_learner_step{{{JOB}}}": "10+1x200",
        },
        silent={
            f"rlvr_checkpoint_timestamp_seconds{{{JOB}}}": "60x200",
            f"rlvr_checkpoint_step{{{JOB}}}": "10x200",
            f"rlvr_learner_step{{{JOB}}}": "10x200",
        },
        at="127m",
        about=OF_JOB,
        summary="The newest checkpoint of team/sums is 2h 6m 0s old.",
    ),
    "RLVRCheckpointErrors": Case(
        fires={f"rlvr_checkpoint_errors_total{{{JOB}}}": "0x5 1 1 1 2 2 2 3x20"},
        silent={f"rlvr_checkpoint_errors_total{{{JOB}}}": "0x5 1 1 1 2x20"},
        at="17m",
        about=OF_JOB,
        summary="team/sums could not reach its checkpoint store 3 times in 15 minutes.",
    ),
    "RLVRRolloutBehind": Case(
        fires={
            f"rlvr_learner_step{{{JOB}}}": "30x20",
            f'rlvr_rollout_policy_step{{{JOB},instance="rollout-0"}}': "29x20",
            f'rlvr_rollout_policy_step{{{JOB},instance="rollout-1"}}': "9x20",
        },
        silent={
            f"rlvr_learner_step{{{JOB}}}": "30x20",
            f'rlvr_rollout_policy_step{{{JOB},instance="rollout-1"}}': "10x20",
            'rlvr_rollout_policy_step{namespace="other",rlvr_job="sums",instance="rollout-0"}': "1x20",
        },
        at="11m",
        about={**OF_JOB, "instance": "rollout-1"},
        summary="A rollout of team/sums, rollout-1, serves a policy 21 steps old.",
    ),
    "RLVRVerifierErrors": Case(
        fires={
            f'rlvr_reward_verdicts_total{{{JOB},verifier="math",outcome="error"}}': "0+20x30",
            f'rlvr_reward_verdicts_total{{{JOB},verifier="math",outcome="wrong"}}': "0+80x30",
            f'rlvr_reward_verdicts_total{{{JOB},verifier="format",outcome="correct"}}': "0+100x30",
        },
        silent={
            f'rlvr_reward_verdicts_total{{{JOB},verifier="unknown",outcome="error"}}': "0+1x30",
            f'rlvr_reward_verdicts_total{{{JOB},verifier="math",outcome="wrong"}}': "0+99x30",
        },
        at="12m",
        about={**OF_JOB, "verifier": "math"},
        summary="team/sums: the verifier math fails on 20% of the answers.",
    ),
    "RLVRSamplerDisagrees": Case(
        fires={f"rlvr_learner_mismatch_kl_nats{{{JOB}}}": "0.001x3 0.08x30"},
        silent={f"rlvr_learner_mismatch_kl_nats{{{JOB}}}": "0.08x10 0.04 0.08x10"},
        at="20m",
        about=OF_JOB,
        summary="Sampler and learner of team/sums differ by 80m nats a token.",
    ),
    "RLVRLearnerStarves": Case(
        fires={
            f'rlvr_learner_step_seconds{{{JOB},phase="{phase}"}}': f"{seconds}x40"
            for phase, seconds in (("wait", 95), ("update", 4), ("publish", 1))
        },
        silent={
            f'rlvr_learner_step_seconds{{{JOB},phase="{phase}"}}': f"{seconds}x40"
            for phase, seconds in (("wait", 85), ("update", 14), ("publish", 1))
        },
        at="31m",
        about=OF_JOB,
        summary="The learner of team/sums waits 95% of its time.",
    ),
    "RLVRNothingToLearn": Case(
        fires={
            f'rlvr_learner_groups_solved_ratio{{{JOB},solved="all"}}': "0.95x40",
            f'rlvr_learner_groups_solved_ratio{{{JOB},solved="some"}}': "0.05x40",
        },
        silent={
            f'rlvr_learner_groups_solved_ratio{{{JOB},solved="none"}}': "0.05x40",
            f'rlvr_learner_groups_solved_ratio{{{JOB},solved="some"}}': "0.5x40",
        },
        at="31m",
        about=OF_JOB,
        summary="5% of the groups of team/sums are neither all right nor all wrong.",
    ),
    "RLVRAnswersCutOff": Case(
        fires={f"rlvr_learner_truncated_ratio{{{JOB}}}": "0.6x40"},
        silent={f"rlvr_learner_truncated_ratio{{{JOB}}}": "0.5x40"},
        at="31m",
        about=OF_JOB,
        summary="60% of the completions of team/sums are cut off by the token limit.",
    ),
}


def expected(alert: Alert, case: Case) -> dict[str, Any]:
    page = f"docs/runbooks/{alert.name}.md"
    return {
        "exp_labels": {"severity": alert.severity, **case.about},
        "exp_annotations": {"summary": case.summary, "description": alert.description, "runbook_url": page},
    }


def promtool(name: str, series: Series, *, at: str, alerts: list[dict[str, Any]], folder: Path) -> str:
    """What promtool complains about when `alerts` and no others of that name should fire."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    check = {"eval_time": at, "alertname": name, "exp_alerts": alerts}
    scene = {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [check],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(FILES / "alerts.yaml")], "tests": [scene]}))
    done = subprocess.run([program, "test", "rules", file], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("name", BY_NAME)
def test_an_alert_fires_for_what_it_is_about_and_names_it(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    assert not promtool(name, case.fires, at=case.at, alerts=[expected(BY_NAME[name], case)], folder=tmp_path)


@pytest.mark.parametrize("name", BY_NAME)
def test_an_alert_is_silent_when_things_are_nearly_as_bad(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    assert not promtool(name, case.silent, at=case.at, alerts=[], folder=tmp_path)


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    case = CASES["RLVRAnswersCutOff"]
    assert promtool("RLVRAnswersCutOff", case.fires, at=case.at, alerts=[], folder=tmp_path)

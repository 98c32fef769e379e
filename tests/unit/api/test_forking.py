"""Two sampling temperatures: where they are taken, and where they are refused with the reason."""

from typing import Any

import pytest
from pydantic import ValidationError

from builders import a_job
from rlvr_api.rollout import ForkingTemperatures

TRAIN = {"procedural": {"task": "chain_sum", "size": 64, "seed": 1}}
CORRECTED = {"preset": "dapo", "importanceSampling": {"mode": "truncate"}}


def data(**held_out: Any) -> dict[str, Any]:
    return {"train": TRAIN, "eval": {"procedural": {"task": "chain_sum", "size": 4, "seed": 1000}, **held_out}}


def rollout(*, engine: str = "local", **forking: Any) -> dict[str, Any]:
    return {"engine": engine, "sampling": {"maxTokens": 64, "forking": forking}}


def test_the_defaults_are_the_paper_s_threshold_and_one_temperature() -> None:
    spec = a_job(data=data(forking={})).spec.data.eval

    assert spec is not None
    assert spec.forking == ForkingTemperatures(threshold=0.672, temperature=1.0, other_temperature=1.0)


def test_an_evaluation_may_be_greedy_off_the_forks() -> None:
    assert a_job(data=data(forking={"otherTemperature": 0})).spec.data.eval


def test_training_takes_two_temperatures_with_a_correction() -> None:
    assert a_job(rollout=rollout(temperature=1.2), algorithm=CORRECTED).spec.rollout.sampling.forking


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"data": data(forking={}), "rollout": {"engine": "vllm"}}, "rollout.engine vllm does not offer"),
        ({"data": data(forking={}, temperature=0.5)}, "temperature 0.5 is not used beside forking"),
        ({"rollout": rollout(engine="vllm"), "algorithm": CORRECTED}, "engine vllm does not offer"),
        ({"rollout": rollout(otherTemperature=0), "algorithm": CORRECTED}, "set both temperatures above 0"),
        ({"rollout": rollout(temperature=0), "algorithm": CORRECTED}, "set both temperatures above 0"),
        ({"rollout": rollout()}, "set algorithm.importanceSampling.mode to truncate or mask"),
    ],
)
def test_what_would_not_work_is_refused_with_the_reason(sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        a_job(**sections)

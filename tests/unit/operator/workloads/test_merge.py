"""A user's pod template over ours."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_operator.workloads.merge import merge
from workload_builders import a_pod, a_seen_job, a_vllm_job

OURS = {
    "containers": [{"name": "engine", "image": "ours", "env": [{"name": "HOME", "value": "/tmp"}], "args": ["--a"]}],
    "volumes": [{"name": "work", "emptyDir": {}}],
    "tolerations": [{"key": "ours"}],
    "restartPolicy": "Always",
}
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(NAMES, st.integers(0, 3), st.booleans())
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["engine", "sidecar"])},
        optional={
            "image": NAMES,
            "env": st.lists(st.fixed_dictionaries({"name": NAMES, "value": NAMES}), max_size=3),
            "args": st.lists(NAMES, max_size=2),
            "resources": st.dictionaries(st.sampled_from(["limits", "requests"]), st.dictionaries(NAMES, VALUES)),
        },
    ),
    max_size=3,
    unique_by=lambda container: container["name"],
)
TEMPLATES = st.fixed_dictionaries(
    {},
    optional={
        "containers": CONTAINERS,
        "tolerations": st.lists(st.dictionaries(NAMES, VALUES), max_size=3),
        "nodeSelector": st.dictionaries(NAMES, NAMES),
        "volumes": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(["work", "data"]), "hostPath": st.just({"path": "/x"})}),
            max_size=2,
        ),
    },
)


def test_an_empty_template_changes_nothing() -> None:
    assert merge(OURS, {}) == OURS


@given(TEMPLATES)
def test_merging_twice_is_merging_once(template: dict[str, Any]) -> None:
    once = merge(OURS, template)

    assert merge(once, template) == once


@given(TEMPLATES)
def test_what_the_template_does_not_speak_of_stays(template: dict[str, Any]) -> None:
    merged = merge(OURS, template)

    assert {name: merged[name] for name in set(OURS) - set(template)} == {
        name: OURS[name] for name in set(OURS) - set(template)
    }
    assert "engine" in [container["name"] for container in merged["containers"]]


def test_containers_meet_by_name_and_variables_too() -> None:
    template = {
        "containers": [
            {"name": "sidecar", "image": "theirs"},
            {"name": "engine", "env": [{"name": "HF_HOME", "value": "/cache"}, {"name": "HOME", "value": "/home"}]},
        ]
    }

    engine, sidecar = merge(OURS, template)["containers"]

    assert engine["image"] == "ours"
    assert engine["env"] == [{"name": "HOME", "value": "/home"}, {"name": "HF_HOME", "value": "/cache"}]
    assert sidecar == {"name": "sidecar", "image": "theirs"}


def test_a_variable_has_a_value_or_a_source_never_both() -> None:
    source = {"secretKeyRef": {"name": "hub", "key": "token"}}

    merged = merge(OURS, {"containers": [{"name": "engine", "env": [{"name": "HOME", "valueFrom": source}]}]})

    assert merged["containers"][0]["env"] == [{"name": "HOME", "valueFrom": source}]


def test_a_volume_replaces_its_namesake_whole() -> None:
    claim = {"name": "work", "persistentVolumeClaim": {"claimName": "scratch"}}

    assert merge(OURS, {"volumes": [claim]})["volumes"] == [claim]


def test_tolerations_are_added_and_arguments_come_last() -> None:
    template = {"tolerations": [{"key": "theirs"}], "containers": [{"name": "engine", "args": ["--b"]}]}

    merged = merge(OURS, template)

    assert merged["tolerations"] == [{"key": "ours"}, {"key": "theirs"}]
    assert merged["containers"][0]["args"] == ["--a", "--b"]


def test_null_takes_a_member_away() -> None:
    assert "restartPolicy" not in merge(OURS, {"restartPolicy": None})


@pytest.mark.parametrize("role", ["learner", "rollout", "reward"])
def test_a_job_with_an_empty_template_has_the_pods_of_a_job_without_one(role: str) -> None:
    plain, empty = a_seen_job(), {"template": {"metadata": {}, "spec": {"containers": []}}}
    sections = {
        "learner": empty,
        "rollout": {"engine": "local", "sampling": {"maxTokens": 64}, **empty},
        "reward": {"verifiers": [{"exact": {"answerAfter": "#"}}], **empty},
    }

    assert a_pod(a_seen_job(**{role: sections[role]}), role) == a_pod(plain, role)


def test_a_template_of_the_wrong_shape_reaches_the_api_server_which_explains_it_better() -> None:
    template = {"metadata": [], "spec": {"containers": {"name": "engine"}, "volumes": "none", "tolerations": [1]}}

    spec = a_pod(a_vllm_job(rollout={"template": template}), "rollout")["spec"]

    assert (spec["containers"], spec["volumes"], spec["tolerations"]) == ({"name": "engine"}, "none", [1])

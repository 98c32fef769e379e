"""What a container of a pod template asks for in accelerators, whatever is written there."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_api.devices import GPU, asked_for, has_claims, main_device, named_container

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["spec", "containers", "name", "resources", "limits", "requests", GPU]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


def a_container(**resources: Any) -> dict[str, Any]:
    return {"name": "engine", "resources": resources}


def test_devices_are_names_with_a_domain_and_limits_win_over_requests() -> None:
    container = a_container(
        requests={"cpu": "4", "memory": "8Gi", GPU: 2, "rdma/hca": "1"}, limits={GPU: "4", "memory": "9Gi"}
    )

    assert asked_for(container) == {GPU: 4, "rdma/hca": 1}


@pytest.mark.parametrize(
    ("limits", "number"),
    [
        ({}, 1),
        ({GPU: 8}, 8),
        ({GPU: 8, "rdma/hca": 2}, 8),
        ({"amd.com/gpu": 4}, 4),
        ({"amd.com/gpu": 4, "rdma/hca": 2}, None),
        ({GPU: 0}, 0),
    ],
)
def test_a_container_has_its_nvidia_gpus_or_its_only_kind_of_device(limits: Any, number: int | None) -> None:
    assert main_device(a_container(limits=limits)) == number


def test_a_claim_is_one_device() -> None:
    container = a_container(claims=[{"name": "gpu"}])

    assert (has_claims(container), main_device(container)) == (True, 1)
    assert not has_claims(a_container())


def test_a_container_is_found_by_its_name() -> None:
    template = {"spec": {"containers": ["junk", {"name": "agent"}, a_container(limits={GPU: 2})]}}

    assert named_container(template, "engine") == a_container(limits={GPU: 2})
    assert named_container(template, "learner") == {}


@given(template=JUNK)
def test_a_template_that_is_none_asks_for_nothing_and_nothing_is_raised(template: Any) -> None:
    container = named_container(template, "engine")

    assert all(count >= 0 for count in asked_for(container).values())
    assert main_device(container) is None or main_device(container) >= 0  # type: ignore[operator]

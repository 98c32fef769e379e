"""An object is of this job, left behind by one of the same name, or somebody's."""

from dataclasses import replace

import pytest

from operator_builders import a_job
from rlvr_api import contract
from rlvr_operator.cluster.ownership import is_left_behind, is_of, taken
from rlvr_operator.cluster.resources import Raw
from runtime_fakes import a_child, an_owner


def an_object(*owners: Raw, kind: str = "Service") -> Raw:
    raw = a_child(kind)
    raw["metadata"]["ownerReferences"] = list(owners)
    return raw


OURS = an_object(an_owner())
OF_AN_EARLIER_JOB = an_object(an_owner("uid-of-an-earlier-job"))
SOMEBODYS = {
    "nobody's": an_object(),
    "without a list of owners": {**OURS, "metadata": {"name": "sums"}},
    "another controller's": an_object(an_owner("x", kind="Deployment", name="web")),
    "another job's": an_object(an_owner("x", name="products")),
    "another kind of that name": an_object(an_owner("x", kind="Deployment")),
    "ours, but in another's hands": an_object({**an_owner(), "controller": False}, an_owner("x", kind="Deployment")),
    "labelled as ours": an_object({**an_owner(), "controller": False}),
}


def test_what_the_job_controls_is_its_own() -> None:
    assert is_of(a_job(), OURS)
    assert not is_left_behind(a_job(), OURS)


def test_what_a_job_of_the_same_name_controlled_is_left_behind() -> None:
    assert is_left_behind(a_job(), OF_AN_EARLIER_JOB)
    assert not is_of(a_job(), OF_AN_EARLIER_JOB)


@pytest.mark.parametrize("whose", SOMEBODYS)
def test_anything_else_is_somebodys(whose: str) -> None:
    assert not is_of(a_job(), SOMEBODYS[whose])
    assert not is_left_behind(a_job(), SOMEBODYS[whose])


def test_an_object_is_of_one_job_at_most() -> None:
    later = replace(a_job(), uid="uid-of-a-later-job")

    assert is_of(a_job(), OURS)
    assert not is_of(later, OURS) and is_left_behind(later, OURS)


def test_it_is_told_whose_it_is_and_what_to_do() -> None:
    way_out = "and is left alone: delete it, or give the job another name than sums"

    assert taken(a_job(), SOMEBODYS["nobody's"]) == f"Service sums is there already, has no controller {way_out}"
    assert taken(a_job(), SOMEBODYS["another controller's"]) == (
        f"Service sums is there already, belongs to Deployment web {way_out}"
    )
    assert taken(a_job(), SOMEBODYS["another job's"]) == (
        f"Service sums is there already, belongs to {contract.KIND} products {way_out}"
    )


def test_what_is_left_behind_goes_by_itself() -> None:
    assert taken(a_job(), OF_AN_EARLIER_JOB) == (
        "Service sums is of an earlier job of this name: wait until it is gone, or delete it"
    )

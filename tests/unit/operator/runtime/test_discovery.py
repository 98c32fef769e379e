"""What the cluster offers is found by asking; gang APIs may come later, and a cluster that is away changes nothing."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from operator_builders import a_job
from rlvr_operator.__main__ import Installation
from rlvr_operator.cluster.discovery import discover
from rlvr_operator.cluster.resources import Raw
from rlvr_operator.errors import OperatorError, Refused, Unavailable
from rlvr_operator.settings import Settings

NATIVE, KUEUE = "scheduling.k8s.io/v1alpha2", "kueue.x-k8s.io/v1beta1"
CANDIDATES = {NATIVE: "PodGroup", KUEUE: "Workload"}


@dataclass
class Documents:
    """A server's documents about itself; `serves` are kinds by group/version."""

    serves: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failure: OperatorError | None = None

    async def read(self, path: str) -> Raw:
        if self.failure is not None:
            raise self.failure
        return self._documents()[path]

    def _documents(self) -> Mapping[str, Raw]:
        groups: dict[str, list[dict[str, str]]] = {}
        for api in self.serves:
            groups.setdefault(api.partition("/")[0], []).append({"groupVersion": api})
        resources = {
            f"/apis/{api}": {"resources": [{"kind": it} for it in kinds]} for api, kinds in self.serves.items()
        }
        return resources | {
            "/apis": {"groups": [{"name": name, "versions": versions} for name, versions in groups.items()]},
            "/.well-known/openid-configuration": {"issuer": "https://issuer.example"},
            "/openid/v1/jwks": {"keys": [{"kid": "one"}]},
        }


async def found(**serves: Any) -> frozenset[str]:
    return (await discover(Documents(serves["serves"]), CANDIDATES)).gang_apis  # type: ignore[arg-type]


async def test_a_gang_api_counts_when_its_version_serves_the_kind() -> None:
    assert await found(serves={NATIVE: ("PodGroup", "Workload"), "apps/v1": ("Deployment",)}) == {NATIVE}
    assert await found(serves={}) == frozenset()


async def test_a_group_that_is_there_for_another_kind_or_in_another_version_does_not() -> None:
    assert await found(serves={NATIVE: ("PriorityClass",), KUEUE: ("ClusterQueue",)}) == frozenset()
    assert await found(serves={"scheduling.k8s.io/v1": ("PodGroup",)}) == frozenset()


async def test_issuer_and_keys_of_tokens_are_read() -> None:
    offer = await discover(Documents(), CANDIDATES)  # type: ignore[arg-type]

    assert (offer.issuer, offer.jwks) == ("https://issuer.example", '{"keys":[{"kid":"one"}]}')


async def an_installation(cluster: Documents) -> Installation:
    return Installation(Settings(), await discover(cluster, CANDIDATES))  # type: ignore[arg-type]


async def test_a_gang_api_that_is_installed_later_is_offered_after_the_next_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    cluster = Documents()
    installation = await an_installation(cluster)
    job = a_job(scheduling={"gang": "native"})
    assert installation.lacks_gang_of(job)

    cluster.serves[NATIVE] = ("PodGroup",)
    for _ in range(2):
        await installation.refresh(cluster)  # type: ignore[arg-type]

    assert not installation.lacks_gang_of(job)
    assert [it.message for it in caplog.records] == [f"The cluster has gang APIs that it had not before: {NATIVE}."]


async def test_jobs_without_a_gang_and_jobs_that_break_rules_wait_for_no_api() -> None:
    installation = await an_installation(Documents())

    assert not installation.lacks_gang_of(a_job())


@pytest.mark.parametrize("failure", [Unavailable("away"), Refused("forbidden", code=403)])
async def test_a_cluster_that_does_not_answer_keeps_what_is_known(
    failure: OperatorError, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cluster = Documents({NATIVE: ("PodGroup",)})
    installation = await an_installation(cluster)
    cluster.failure = failure
    before = installation.kit
    await installation.refresh(cluster)  # type: ignore[arg-type]

    assert installation.kit == before
    assert len(caplog.records) == 1

"""What the operator may do: what its code asks for, nothing else, and never anything about Secrets."""

from collections import defaultdict
from typing import Any

import pytest

from charts import CHART, CI, HELMS, NAMESPACE, RELEASE, of_kind, rendered
from rlvr_operator.cluster.resources import CHILDREN, EVENTS, JOBS, LEASES, NODES, PODS, SERVICE_ACCOUNTS, Resource
from rlvr_operator.workloads import GANG_APIS, POD_GROUP

Rights = dict[tuple[str, str], set[str]]
WATCHED = {"list", "watch"}
APPLIED = {"get", "create", "patch", "delete"}


def key(resource: Resource, sub: str = "") -> tuple[str, str]:
    group = resource.api_version.rpartition("/")[0]
    return group, f"{resource.plural}/{sub}" if sub else resource.plural


def asked() -> Rights:
    """As `executor.py`, the informers and the recorder of events ask."""
    needed: Rights = {
        key(JOBS): {"get", "patch", "delete"} | WATCHED,
        key(JOBS, "status"): {"patch"},
        key(JOBS, "finalizers"): {"update"},
        key(PODS): {"get", "create", "delete"} | WATCHED,
        key(EVENTS): {"get", "create", "patch"},
    }
    needed |= {key(child): APPLIED | WATCHED for child in CHILDREN}
    for api, kind in GANG_APIS.items():
        needed[key(Resource(api, kind))] = APPLIED | WATCHED if kind == POD_GROUP else {"delete"}
    return needed


def granted(role: dict[str, Any]) -> Rights:
    rights: Rights = defaultdict(set)
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                rights[group, resource] |= set(rule["verbs"])
    return dict(rights)


@pytest.mark.parametrize("helm", HELMS)
def test_the_operator_may_do_what_it_asks_for_and_nothing_else(helm: str) -> None:
    roles = of_kind(rendered(helm), "ClusterRole")

    assert granted(roles[RELEASE]) == asked()
    assert granted(roles[f"{RELEASE}-nodes"]) == {key(NODES): WATCHED}


@pytest.mark.parametrize("helm", HELMS)
def test_in_its_own_namespace_it_has_its_lease_and_tokens_of_its_own_account(helm: str) -> None:
    role = of_kind(rendered(helm), "Role")[f"{RELEASE}-own"]
    named = {tuple(rule["resourceNames"]) for rule in role["rules"] if set(rule["verbs"]) != {"create"}}
    tokens = next(rule for rule in role["rules"] if rule["resources"] == ["serviceaccounts/token"])

    assert granted(role) == {key(LEASES): {"get", "create", "update"}, key(SERVICE_ACCOUNTS, "token"): {"create"}}
    assert named == {(RELEASE,)}
    assert tokens["resourceNames"] == [RELEASE]
    assert role["metadata"]["namespace"] == NAMESPACE


@pytest.mark.parametrize("helm", HELMS)
def test_an_operator_of_some_namespaces_has_no_right_in_others(helm: str) -> None:
    objects = rendered(helm, "--values", CHART / "ci" / "02-namespaced-values.yaml")
    roles = [it for it in objects if it["kind"] == "Role"]

    assert [it for it in objects if it["kind"].startswith("ClusterRole")] == []
    assert {it["metadata"]["namespace"] for it in roles} == {"team-a", "team-b", NAMESPACE}
    assert all(granted(it) == asked() for it in roles if it["metadata"]["namespace"] != NAMESPACE)


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_nobody_is_given_anything_about_secrets_or_everything(helm: str, values: Any) -> None:
    roles = [it for it in rendered(helm, "--values", values) if it["kind"] in {"Role", "ClusterRole"}]
    words = {word for it in roles for rule in it["rules"] for name in rule for word in rule[name]}

    assert roles
    assert words.isdisjoint({"secrets", "*", "escalate", "bind", "impersonate", "pods/exec"})


@pytest.mark.parametrize("helm", HELMS)
def test_every_role_is_bound_to_the_operator_s_account(helm: str) -> None:
    objects = rendered(helm)
    bindings = [it for it in objects if it["kind"].endswith("RoleBinding")]
    account = {"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}

    assert {it["roleRef"]["name"] for it in bindings} == {RELEASE, f"{RELEASE}-nodes", f"{RELEASE}-own"}
    assert all(it["subjects"] == [account] for it in bindings)


@pytest.mark.parametrize("helm", HELMS)
def test_people_with_the_cluster_s_own_roles_can_work_with_jobs(helm: str) -> None:
    roles = of_kind(rendered(helm), "ClusterRole")
    mine: Rights = {}
    for name in ("view", "edit", "admin"):
        role = roles[f"{RELEASE}-{name}"]
        assert role["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{name}"] == "true"
        for where, verbs in granted(role).items():
            mine[where] = mine.get(where, set()) | verbs

    assert {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"} == mine[key(JOBS)]
    assert "update" in mine[key(JOBS, "scale")]
    assert mine.keys() == {key(JOBS), key(JOBS, "status"), key(JOBS, "scale")}

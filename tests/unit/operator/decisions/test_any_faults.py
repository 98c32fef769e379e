"""Whatever happens to a job's world, a few looks settle it, and then there is nothing to do.

RLVR_EXAMPLES=1000 tries more sequences than the everyday run.
"""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operator_builders import a_job, heard
from operator_world import FakeCluster
from rlvr_api.contract import EXIT_CORRUPT_CHECKPOINT, EXIT_INTERRUPTED, EXIT_INVALID
from rlvr_operator.observed import PodSeen, Refusal, Waiting
from rlvr_operator.workloads import child_key, children
from workload_builders import KIT

EXAMPLES = int(os.environ.get("RLVR_EXAMPLES", "100"))
CODES = (1, 1, 137, 139, 143, EXIT_INTERRUPTED, EXIT_CORRUPT_CHECKPOINT, 0, 3, EXIT_INVALID)
Fault = Callable[[FakeCluster, int], None]


def on_a_pod(fault: Callable[[FakeCluster, PodSeen, int], None]) -> Fault:
    def anywhere(cluster: FakeCluster, number: int) -> None:
        pods = [pod for pod in cluster.pods.values() if pod.is_placed and not pod.has_ended]
        if pods:
            fault(cluster, pods[number % len(pods)], number // len(pods))

    return anywhere


def in_the_spec(edit: Callable[[Any, int], dict[str, Any]]) -> Fault:
    def edited(cluster: FakeCluster, number: int) -> None:
        cluster.change_spec(**edit(cluster.job.spec, number))  # type: ignore[union-attr]

    return edited


def container_ends(cluster: FakeCluster, pod: PodSeen, number: int) -> None:
    cluster.fail(pod, code=CODES[number % len(CODES)], reason="OOMKilled" if number % 7 == 0 else "Error")


def one_of_two_containers_ends(cluster: FakeCluster, pod: PodSeen, number: int) -> None:
    cluster.fail(pod, code=CODES[number % len(CODES)])
    cluster.change(pod, phase="Running")


def container_loops(cluster: FakeCluster, pod: PodSeen, number: int) -> None:
    waiting = (Waiting(container=pod.role, image="x:1", reason="CrashLoopBackOff"),)
    cluster.change(pod, is_ready=False, ready_since=None, waiting=waiting, restarts=number % 8)


def all_learners_end_well(cluster: FakeCluster, _number: int) -> None:
    for pod in cluster.role("learner"):
        if pod.is_placed:
            cluster.fail(pod, code=0)


def pod_vanishes(cluster: FakeCluster, pod: PodSeen, _number: int) -> None:
    del cluster.pods[pod.name]


def user_deletes_a_pod(cluster: FakeCluster, pod: PodSeen, _number: int) -> None:
    cluster.delete(pod.name, uid=pod.uid)


def node_is_drained(cluster: FakeCluster, pod: PodSeen, number: int) -> None:
    cluster.change(pod, is_disrupted=True, disruption="EvictionByEvictionAPI")
    if number % 2:
        cluster.delete(pod.name, uid=pod.uid)
    else:
        cluster.fail(pod, code=143)


def image_is_missing(cluster: FakeCluster, pod: PodSeen, number: int) -> None:
    reason = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName")[number % 3]
    waiting = (Waiting(container=pod.role, image="x:1", reason=reason),)
    cluster.change(pod, phase="Pending", is_ready=False, ready_since=None, waiting=waiting)


def readiness_is_lost(cluster: FakeCluster, pod: PodSeen, _number: int) -> None:
    cluster.change(pod, is_ready=False, ready_since=None, unready_since=cluster.now)


def no_room(cluster: FakeCluster, number: int) -> None:
    for pod in cluster.pods.values():
        if not pod.is_placed and number % 2:
            cluster.change(pod, unschedulable="0/3 nodes are available: insufficient nvidia.com/gpu")
        elif not pod.is_placed:
            cluster.change(pod, unschedulable="", is_gated=False)


def queue_closes(cluster: FakeCluster, number: int) -> None:
    cluster.is_gated = bool(number % 2)


def coordinator_speaks(cluster: FakeCluster, number: int) -> None:
    attempt = cluster.job.status.attempt - number % 2  # type: ignore[union-attr]
    if attempt >= 0:
        cluster.progress = heard(
            step=number % 50,
            attempt=attempt,
            at=cluster.now,
            checkpoint=number % 50 or None,
            is_waiting=number % 5 == 0,
            error="403" if number % 3 == 0 else None,
        )


def server_refuses(cluster: FakeCluster, number: int) -> None:
    code = (403, 422)[number % 2]
    refusal = Refusal(what="Pod/sums-rollout-0-a0", code=code, message="exceeded quota: gpus", at=cluster.now)
    cluster.refusals = (refusal,) if number % 3 else ()


def operator_dies_in_between(cluster: FakeCluster, number: int) -> None:
    if cluster.job is not None:
        cluster.carry_out(cluster.plan(), writes=number % 6)


FAULTS: dict[str, Fault] = {
    "container ends": on_a_pod(container_ends),
    "one of two containers ends": on_a_pod(one_of_two_containers_ends),
    "container loops": on_a_pod(container_loops),
    "all learners end well": all_learners_end_well,
    "pod vanishes": on_a_pod(pod_vanishes),
    "user deletes a pod": on_a_pod(user_deletes_a_pod),
    "node is drained": on_a_pod(node_is_drained),
    "image is missing": on_a_pod(image_is_missing),
    "readiness is lost": on_a_pod(readiness_is_lost),
    "node falls silent": lambda cluster, number: cluster.lose(f"node-{number % 3}"),
    "node is back": lambda cluster, number: cluster.find(f"node-{number % 3}"),
    "no room": no_room,
    "queue closes": queue_closes,
    "coordinator speaks": coordinator_speaks,
    "server refuses": server_refuses,
    "operator dies in between": operator_dies_in_between,
    "operator looks": lambda cluster, _: cluster.carry_out(cluster.plan()),
    "kubelets work": lambda cluster, _: cluster.live(),
    "a minute passes": lambda cluster, number: cluster.pass_time(60.0 * (number % 10)),
    "an hour passes": lambda cluster, _: cluster.pass_time(3601.0),
    "suspend": in_the_spec(lambda _, __: {"suspend": True}),
    "resume": in_the_spec(lambda _, __: {"suspend": False}),
    "scale rollouts": in_the_spec(
        lambda spec, number: {"rollout": spec.rollout.model_copy(update={"replicas": spec.rollout.min + number % 4})}
    ),
    "scale rewards": in_the_spec(
        lambda spec, number: {"reward": spec.reward.model_copy(update={"replicas": 1 + number % 3})}
    ),
    "change the time to live": in_the_spec(
        lambda spec, number: {"limits": spec.limits.model_copy(update={"ttl_seconds_after_finished": 100 * number})}
    ),
    "set a deadline": in_the_spec(
        lambda spec, number: {"limits": spec.limits.model_copy(update={"active_deadline_seconds": 600 + 100 * number})}
    ),
    "delete the job": lambda cluster, number: cluster.delete_job() if number % 4 == 0 else None,
}
SEQUENCES = st.lists(st.tuples(st.sampled_from(sorted(FAULTS)), st.integers(0, 999)), min_size=1, max_size=25)
JOBS = st.builds(
    lambda nodes, rollouts, minimum: a_job(
        finalizers=(),
        learner={"nodes": nodes, "backend": {"deepspeed": {}}},
        rollout={"engine": "local", "sampling": {"maxTokens": 64}, "replicas": rollouts, "min": min(minimum, rollouts)},
    ),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
)


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(job=JOBS, faults=SEQUENCES, with_kubelets=st.booleans())
def test_after_any_faults_five_looks_find_nothing_more_to_do(
    job: Any, faults: list[tuple[str, int]], *, with_kubelets: bool
) -> None:
    cluster = lived_through(job, faults)
    cluster.settled(passes=5, with_kubelets=with_kubelets)


@settings(
    max_examples=EXAMPLES // 3,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
@given(job=JOBS, faults=SEQUENCES)
def test_a_world_that_heals_gets_its_job_running_or_ended(job: Any, faults: list[tuple[str, int]]) -> None:
    cluster = lived_through(job, faults)
    heal(cluster)
    for _ in range(40):
        plan = cluster.look()
        cluster.live()
        if cluster.job is None:
            return
        cluster.pass_time(plan.look_again_seconds or 30.0)
    assert cluster.job is not None
    assert cluster.job.status.phase in {"Running", "Suspended", "Succeeded", "Failed"}
    if cluster.job.status.phase == "Running":
        assert cluster.applied.keys() == {child_key(child) for child in children(cluster.job, KIT)}, "late ones too"


def lived_through(job: Any, faults: list[tuple[str, int]]) -> FakeCluster:
    cluster = FakeCluster(job=job)
    cluster.look()
    cluster.live()
    for name, number in faults:
        if cluster.job is not None:
            FAULTS[name](cluster, number)
    return cluster


def heal(cluster: FakeCluster) -> None:
    for node in list(cluster.lost_nodes):
        cluster.find(node)
    cluster.is_gated, cluster.refusals, cluster.progress = False, (), None
    for pod in list(cluster.pods.values()):
        cluster.change(pod, is_gated=False, unschedulable="", waiting=())
        if pod.phase == "Running" and not pod.exits:
            cluster.change(pod, is_ready=True, ready_since=cluster.now, unready_since=None)

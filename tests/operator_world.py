"""A cluster in memory: it carries out plans as the API server would, and its pods live as kubelets would let them.

Strict about what must never happen: two living pods of one identity, learner pods of two attempts, anything made for a
finished job, a budget that shrinks for nothing.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from operator_builders import NOW, a_job
from rlvr_api import contract
from rlvr_operator.observed import Exit, JobSeen, Observed, PodSeen, ProgressSeen, Refusal
from rlvr_operator.plan import Manifest, Plan
from rlvr_operator.reconcile import reconcile
from rlvr_operator.workloads import FAILURES, HASH, Kit, child_key
from workload_builders import KIT


@dataclass
class FakeCluster:
    """One job and its world."""

    job: JobSeen | None = field(default_factory=a_job)
    pods: dict[str, PodSeen] = field(default_factory=dict)
    applied: dict[str, str] = field(default_factory=dict)
    lost_nodes: set[str] = field(default_factory=set)
    progress: ProgressSeen | None = None
    refusals: tuple[Refusal, ...] = ()
    now: float = NOW
    is_gated: bool = False
    """New pods wait for admission."""
    kit: Kit = KIT
    made: int = 0
    log: list[str] = field(default_factory=list)

    def seen(self) -> Observed:
        assert self.job is not None
        return Observed(
            job=self.job,
            pods=tuple(self.pods.values()),
            applied=dict(self.applied),
            progress=self.progress,
            listening_since=0.0,
            refusals=self.refusals,
            lost_nodes=frozenset(self.lost_nodes),
            now=self.now,
        )

    def plan(self) -> Plan:
        return reconcile(self.seen(), self.kit) if self.job is not None else Plan()

    def look(self) -> Plan:
        """One pass: reconcile and carry out."""
        plan = self.plan()
        self.carry_out(plan)
        return plan

    def settled(self, *, passes: int = 5, with_kubelets: bool = True) -> int:
        """Look until there is nothing to do; how many passes that took."""
        for number in range(passes + 1):
            if self.plan().is_empty:
                return number
            self.look()
            if with_kubelets:
                self.live()
        assert self.plan().is_empty, f"no fixed point after {passes} passes: {self.plan()}"
        return passes + 1

    # --- the API server ------------------------------------------------------------------------------------------

    def carry_out(self, plan: Plan, *, writes: int | None = None) -> None:
        """The first `writes` writes, as by an operator that is killed then; all by default."""
        for write in list(self._writes(plan))[:writes]:
            write()
            self._check()

    def _writes(self, plan: Plan) -> Any:
        job = self.job
        assert job is not None
        if plan.finalizer == "add":
            yield lambda: self._set_finalizers((*job.finalizers, contract.FINALIZER))
        for deletion in plan.delete_pods:
            yield lambda deletion=deletion: self.delete(deletion.name, uid=deletion.uid, grace=deletion.grace_seconds)
        for child in plan.delete_children:
            yield lambda child=child: self.applied.pop(f"{child.kind}/{child.name}")
        for manifest in plan.apply:
            yield lambda manifest=manifest: self._apply(manifest)
        for manifest in plan.create:
            yield lambda manifest=manifest: self._create(manifest)
        if plan.status is not None:
            yield lambda: self._write_status(plan)
        if plan.finalizer == "remove":
            yield lambda: self._set_finalizers(tuple(it for it in job.finalizers if it != contract.FINALIZER))
        if plan.delete_job:
            yield self.delete_job

    def delete_job(self) -> None:
        assert self.job is not None
        self.job = replace(self.job, deleted_at=self.job.deleted_at or self.now)
        self._collect()

    def delete(self, name: str, *, uid: str, grace: int | None = None) -> None:
        pod = self.pods.get(name)
        if pod is None or pod.uid != uid:
            return
        if grace == 0 or not pod.is_placed:
            del self.pods[name]
            return
        seconds = pod.grace_seconds if grace is None else grace
        self.pods[name] = replace(pod, deleted_at=pod.deleted_at or self.now + seconds)

    def _create(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        labels = metadata["labels"]
        if metadata["name"] in self.pods:
            return
        assert self.job is not None
        assert not self._has_ended(), f"{metadata['name']} was made for a finished job"
        assert contract.FINALIZER in self.job.finalizers, "pods need the finalizer first"
        self.made += 1
        pod = PodSeen(
            name=metadata["name"],
            uid=f"uid-{self.made}",
            role=labels[contract.LABEL_ROLE],
            index=int(labels[contract.LABEL_INDEX]),
            attempt=int(labels[contract.LABEL_ATTEMPT]),
            failures=int(metadata["annotations"][FAILURES]),
            phase="Pending",
            created_at=self.now,
            is_gated=self.is_gated,
        )
        if pod.role == "learner":
            older = [it.name for it in self.pods.values() if it.role == "learner" and it.attempt < pod.attempt]
            assert not older, f"{pod.name} was made while {older} were there"
        self.pods[pod.name] = pod

    def _apply(self, manifest: Manifest) -> None:
        self.applied[child_key(manifest)] = manifest["metadata"]["annotations"][HASH]

    def _write_status(self, plan: Plan) -> None:
        assert self.job is not None and plan.status is not None
        old, new = self.job.status, plan.status
        step = new.checkpoint.step if new.checkpoint else None
        has_progressed = step is not None and step > (old.current_attempt.checkpoint_step or 0)
        assert old.attempt <= new.attempt <= old.attempt + 1, "attempts go up one by one"
        assert new.restarts >= old.restarts or has_progressed, "only progress earns the budget back"
        self.job = replace(self.job, status=new)

    def _set_finalizers(self, finalizers: tuple[str, ...]) -> None:
        assert self.job is not None
        self.job = replace(self.job, finalizers=finalizers)
        self._collect()

    def _collect(self) -> None:
        """The garbage collector."""
        if self.job is not None and self.job.deleted_at is not None and not self.job.finalizers:
            self.job, self.pods, self.applied = None, {}, {}

    def _has_ended(self) -> bool:
        assert self.job is not None
        return any(it.type in {"Complete", "Failed"} and it.status == "True" for it in self.job.status.conditions)

    def _check(self) -> None:
        living = [pod for pod in self.pods.values() if not pod.has_ended and not pod.is_terminating]
        identities = [(pod.role, pod.index, pod.attempt) for pod in living]
        assert len(identities) == len(set(identities)), identities

    # --- kubelets and scheduler ----------------------------------------------------------------------------------

    def live(self) -> None:
        """Everything that nodes in good health do in a few seconds."""
        for pod in list(self.pods.values()):
            if pod.node in self.lost_nodes:
                continue
            if pod.is_terminating:
                del self.pods[pod.name]
            elif pod.phase == "Pending" and not pod.is_gated and not pod.unschedulable and not pod.waiting:
                self._start(pod)

    def _start(self, pod: PodSeen) -> None:
        node = f"node-{pod.index % 3}"
        node = node if node not in self.lost_nodes else "node-9"
        self.pods[pod.name] = replace(
            pod,
            phase="Running",
            node=node,
            is_placed=True,
            placed_at=pod.placed_at or self.now,
            address=f"10.200.0.{len(self.pods)}",
            is_ready=True,
            ready_since=self.now,
            unready_since=None,
        )

    def change(self, pod: PodSeen, **fields: Any) -> None:
        self.pods[pod.name] = replace(self.pods[pod.name], **fields)

    def fail(self, pod: PodSeen, *, code: int = 1, reason: str = "Error", **fields: Any) -> None:
        """Its container ends."""
        end = Exit(
            container=pod.role, code=code, reason=reason, started_at=pod.ready_since or self.now, finished_at=self.now
        )
        phase = "Succeeded" if code == 0 else "Failed"
        self.change(pod, phase=phase, is_ready=False, ready_since=None, exits=(end,), **fields)

    def lose(self, node: str) -> None:
        """A node falls silent."""
        self.lost_nodes.add(node)
        for pod in self.pods.values():
            if pod.node == node and pod.is_ready:
                self.change(pod, is_ready=False, ready_since=None, unready_since=self.now)

    def find(self, node: str) -> None:
        """It is back."""
        self.lost_nodes.discard(node)
        for pod in self.pods.values():
            if pod.node == node and pod.phase == "Running" and not pod.exits:
                self.change(pod, is_ready=True, ready_since=self.now, unready_since=None)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def change_spec(self, **changes: Any) -> None:
        """Members of the spec, as a user edits them."""
        assert self.job is not None and self.job.spec is not None
        spec = self.job.spec.model_copy(update=changes)
        self.job = replace(self.job, spec=spec, generation=self.job.generation + 1)

    def role(self, role: str) -> list[PodSeen]:
        return sorted((it for it in self.pods.values() if it.role == role), key=lambda it: (it.index, it.attempt))

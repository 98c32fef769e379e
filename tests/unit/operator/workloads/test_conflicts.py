"""What a pod template may not say, and what it may."""

from typing import Any

import pytest

from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads import conflicts
from workload_builders import a_container, a_pod, a_seen_job, a_vllm_job

VERIFIERS = [{"exact": {"answerAfter": "#"}}]


def with_template(role: str, template: dict[str, Any], *, vllm: bool = False) -> JobSeen:
    if role == "rollout" and vllm:
        return a_vllm_job(rollout={"template": template})
    sections: dict[str, dict[str, Any]] = {
        "learner": {},
        "rollout": {"engine": "local", "sampling": {"maxTokens": 64}},
        "reward": {"verifiers": VERIFIERS},
    }
    return a_seen_job(**{role: {**sections[role], "template": template}})


def found(role: str, spec: dict[str, Any], *, vllm: bool = False) -> tuple[str, ...]:
    job = with_template(role, {"spec": spec}, vllm=vllm)
    assert job.spec is not None
    return conflicts(job.spec)


def in_container(role: str, name: str, *, vllm: bool = False, **fields: Any) -> tuple[str, ...]:
    return found(role, {"containers": [{"name": name, **fields}]}, vllm=vllm)


@pytest.mark.parametrize("job", [a_seen_job(), a_vllm_job()], ids=["local", "vllm"])
def test_a_job_without_templates_has_no_conflicts(job: JobSeen) -> None:
    assert conflicts(job.spec) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostname", "mine"),
        ("subdomain", "mine"),
        ("setHostnameAsFQDN", True),
        ("restartPolicy", "OnFailure"),
        ("hostNetwork", True),
        ("hostPID", True),
        ("hostIPC", True),
        ("shareProcessNamespace", True),
        ("automountServiceAccountToken", True),
        ("enableServiceLinks", True),
        ("nodeName", "node-1"),
        ("activeDeadlineSeconds", 60),
        ("schedulingGroup", {"podGroupName": "mine"}),
    ],
)
@pytest.mark.parametrize("role", ["learner", "rollout", "reward"])
def test_what_belongs_to_the_job_is_named_with_value_and_reason(role: str, field: str, value: Any) -> None:
    (problem,) = found(role, {field: value})

    assert problem.startswith(f"{role}.template.spec.{field} {value!r} cannot be set: ")


def test_one_whole_sentence() -> None:
    assert found("rollout", {"hostNetwork": True}) == (
        (
            "rollout.template.spec.hostNetwork True cannot be set: on the node's network the engine's unauthenticated "
            "routes would be open to the node"
        ),
    )


def test_saying_what_we_say_is_no_conflict() -> None:
    assert found("learner", {"hostNetwork": False, "automountServiceAccountToken": False}) == ()


def test_a_sandbox_for_rewards_has_its_own_field_and_for_others_the_template() -> None:
    assert "use reward.runtimeClassName" in found("reward", {"runtimeClassName": "gvisor"})[0]
    assert found("learner", {"runtimeClassName": "nvidia"}) == ()


@pytest.mark.parametrize(("grace", "problems"), [(89, 1), (90, 0), (600, 0)])
def test_a_learner_cannot_be_given_less_time_than_saving_takes(grace: int, problems: int) -> None:
    assert len(found("learner", {"terminationGracePeriodSeconds": grace})) == problems
    assert found("rollout", {"terminationGracePeriodSeconds": grace}) == ()


@pytest.mark.parametrize("name", ["job", "token"])
def test_the_jobs_own_volumes_are_taken(name: str) -> None:
    (problem,) = found("learner", {"volumes": [{"name": name, "emptyDir": {}}]})

    assert problem == f"learner.template.spec.volumes {name} is the job's own: choose another name"


def test_work_folders_may_lie_elsewhere_but_a_reward_never_sees_the_nodes_files() -> None:
    volumes = {"volumes": [{"name": "work", "hostPath": {"path": "/nvme"}}]}

    assert found("learner", volumes) == ()
    assert "cannot be a hostPath" in found("reward", volumes)[0]


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"labels": {"rlvr.dev/job": "x"}}, "metadata.labels rlvr.dev/job is the operator's own"),
        ({"annotations": {"rlvr.dev/failures": "0"}}, "metadata.annotations rlvr.dev/failures is the operator's own"),
        ({"labels": {"kueue.x-k8s.io/queue-name": "q"}}, "use scheduling.queueName"),
        ({"labels": {"kueue.x-k8s.io/pod-group-name": "g"}}, "use scheduling.gang"),
        ({"name": "mine"}, "metadata.name has no place in a template"),
        ({"finalizers": ["x"]}, "metadata.finalizers has no place in a template"),
    ],
)
def test_names_and_marks_of_the_operator_are_taken(metadata: dict[str, Any], words: str) -> None:
    (problem,) = conflicts(with_template("learner", {"metadata": metadata}).spec)  # type: ignore[arg-type]

    assert words in problem


def test_other_labels_and_annotations_arrive() -> None:
    metadata = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    job = with_template("rollout", {"metadata": metadata})

    manifest = a_pod(job, "rollout")["metadata"]

    assert conflicts(job.spec) == ()  # type: ignore[arg-type]
    assert (manifest["labels"]["team"], manifest["labels"]["rlvr.dev/job"]) == ("a", "sums")
    assert manifest["annotations"] == {"note": "b", "rlvr.dev/failures": "0"}


@pytest.mark.parametrize(
    ("role", "name", "fields", "words"),
    [
        ("learner", "learner", {"command": ["sh"]}, "command is the job's own"),
        ("learner", "coordinator", {"args": ["--fast"]}, "coordinator takes none"),
        ("rollout", "engine", {"args": ["--fast"]}, "engine takes none"),
        ("reward", "reward", {"livenessProbe": {"tcpSocket": {"port": 1}}}, "livenessProbe is the job's own"),
        ("reward", "reward", {"lifecycle": {"preStop": {}}}, "lifecycle is the job's own"),
        ("learner", "learner", {"env": [{"name": "RLVR_PORT", "value": "1"}]}, "env RLVR_PORT is set by the operator"),
        ("learner", "learner", {"volumeMounts": [{"mountPath": "/etc/rlvr/job.json"}]}, "would hide the job's own"),
        (
            "rollout",
            "agent",
            {"volumeMounts": [{"mountPath": "/var/run/secrets/rlvr.dev/"}]},
            "would hide the job's own",
        ),
        ("rollout", "sidecar", {"ports": [{"containerPort": 8471}]}, "ports 8471 belongs to the rollout agent"),
        ("rollout", "sidecar", {"ports": [{"containerPort": 9, "hostPort": 9}]}, "cannot be a hostPort"),
    ],
)
def test_our_containers_keep_what_makes_them_work(role: str, name: str, fields: dict[str, Any], words: str) -> None:
    (problem,) = in_container(role, name, **fields)

    assert problem.startswith(f"{role}.template.spec.containers {name}: ")
    assert words in problem


@pytest.mark.parametrize(
    "option", ["--host", "--host=0.0.0.0", "--hos", "--port", "--uds", "--config", "--config=x", "--conf"]
)
def test_no_option_moves_the_engine_off_its_loopback(option: str) -> None:
    (problem,) = in_container("rollout", "engine", vllm=True, args=[option, "x"])

    assert "would move the engine's routes, which have no authentication" in problem


def test_other_options_of_vllm_are_passed_on_last() -> None:
    arguments = ["--gpu-memory-utilization", "0.85", "--max-num-seqs", "64", "--hf-token", "x"]
    job = with_template("rollout", {"spec": {"containers": [{"name": "engine", "args": arguments}]}}, vllm=True)

    assert conflicts(job.spec) == ()  # type: ignore[arg-type]
    assert a_container(a_pod(job, "rollout"), "engine")["args"][-6:] == arguments


def test_the_routes_that_change_weights_stay_on() -> None:
    variable = [{"name": "VLLM_SERVER_DEV_MODE", "value": "0"}]

    assert "is set by the operator" in in_container("rollout", "engine", vllm=True, env=variable)[0]


@pytest.mark.parametrize(
    "context",
    [
        {"privileged": True},
        {"allowPrivilegeEscalation": True},
        {"runAsNonRoot": False},
        {"readOnlyRootFilesystem": False},
        {"capabilities": {"add": ["SYS_ADMIN"]}},
        {"seccompProfile": {"type": "Unconfined"}},
        {"procMount": "Unmasked"},
    ],
)
def test_the_walls_of_a_reward_pod_stay_and_others_are_up_to_the_namespace(context: dict[str, Any]) -> None:
    (problem,) = in_container("reward", "reward", securityContext=context)

    assert f"securityContext.{next(iter(context))} cannot be loosened" in problem
    assert len(found("reward", {"securityContext": context})) == 1
    assert in_container("learner", "learner", securityContext=context) == ()


def test_init_containers_run_but_not_under_our_names() -> None:
    assert found("learner", {"initContainers": [{"name": "fetch", "command": ["sh"]}]}) == ()
    assert "choose another one" in found("learner", {"initContainers": [{"name": "learner"}]})[0]


def test_every_conflict_is_told_at_once() -> None:
    spec = {"hostNetwork": True, "nodeName": "n", "containers": [{"name": "learner", "command": ["sh"]}]}

    assert len(found("learner", spec)) == 3


def test_a_builtin_model_is_out_of_vllms_reach() -> None:
    job = a_seen_job(rollout={"sampling": {"maxTokens": 64}})

    assert conflicts(job.spec) == (  # type: ignore[arg-type]
        (
            "model.builtin arithmetic is inside the trainer's image, where vLLM cannot read it: set rollout.engine to "
            "local, or use model.path or model.hub"
        ),
    )


@pytest.mark.parametrize(
    ("scheduling", "words"),
    [
        ({"gang": "native", "queueName": "q"}, "scheduling.queueName q admits pods one by one"),
        ({"gang": "coscheduling", "queueName": "q"}, "scheduling.queueName q admits pods one by one"),
    ],
)
def test_queue_and_gang_must_fit(scheduling: dict[str, str], words: str) -> None:
    (problem,) = conflicts(a_seen_job(scheduling=scheduling).spec)  # type: ignore[arg-type]

    assert words in problem


def test_a_gang_of_volcanos_has_volcanos_scheduler() -> None:
    learner = {"template": {"spec": {"schedulerName": "mine"}}}
    job = a_seen_job(learner=learner, scheduling={"gang": "volcano"})

    assert "schedulerName mine cannot start a gang of Volcano's" in conflicts(job.spec)[0]  # type: ignore[arg-type]


NONSENSE: list[Any] = [None, 0, "x", [], ["x"], [None], [[]], {}, {"x": 1}, [{"name": []}], [{"name": {}}]]
FIELDS = ["containers", "initContainers", "volumes", "securityContext", "terminationGracePeriodSeconds", "tolerations"]
PARTS = ["args", "command", "env", "ports", "volumeMounts", "resources", "securityContext", "livenessProbe", "name"]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
@pytest.mark.parametrize("role", ["learner", "rollout", "reward"])
def test_no_nonsense_breaks_anything(role: str, value: Any) -> None:
    names = {"learner": "learner", "rollout": "engine", "reward": "reward"}
    templates = [
        {"spec": value},
        {"metadata": value},
        {"metadata": {"labels": value}},
        *({"spec": {field: value}} for field in FIELDS),
        *({"spec": {"containers": [{"name": names[role], part: value}]}} for part in PARTS),
        {"spec": {"containers": [{"name": names[role], "resources": {"limits": value, "claims": value}}]}},
        {"spec": {"containers": [{"name": names[role], "ports": [{"containerPort": value, "hostPort": value}]}]}},
    ]

    for template in templates:
        job = with_template(role, template, vllm=role == "rollout")
        assert all(isinstance(problem, str) for problem in conflicts(job.spec))  # type: ignore[arg-type]
        assert a_pod(job, role)["kind"] == "Pod"

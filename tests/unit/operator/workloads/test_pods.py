"""The pods of each role."""

from dataclasses import replace

import pytest

from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads import Member, name_of, pod
from workload_builders import (
    KIT,
    UID,
    a_container,
    a_pod,
    a_seen_job,
    a_vllm_job,
    all_pods,
    broken_restrictions,
    environment_of,
)

DEEPSPEED = {"deepspeed": {}}
BIG = {"nodes": 2, "gpusPerNode": 8, "backend": DEEPSPEED}
JOBS = {
    "local": a_seen_job(),
    "vllm": a_vllm_job(rollout={"replicas": 2}, learner=BIG, checkpoint={"secretRef": {"name": "store"}}),
}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_every_pod_is_restricted(job: JobSeen) -> None:
    assert [broken for manifest in all_pods(job) for broken in broken_restrictions(manifest)] == []


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_every_pod_is_isolated_found_and_owned(job: JobSeen) -> None:
    for manifest in all_pods(job):
        spec, metadata = manifest["spec"], manifest["metadata"]
        assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
        assert (spec["subdomain"], metadata["namespace"], metadata["ownerReferences"][0]["uid"]) == (
            "sums",
            "research",
            UID,
        )
        assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in spec["containers"])


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_every_container_asks_for_processor_and_memory_and_mounts_only_what_its_pod_has(job: JobSeen) -> None:
    for manifest in all_pods(job):
        volumes = {volume["name"] for volume in manifest["spec"]["volumes"]}
        for container in manifest["spec"]["containers"]:
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_a_pod_says_who_it_is() -> None:
    manifest = pod(a_seen_job(), KIT, Member(role="rollout", index=3, attempt=7, failures=2))

    assert manifest["metadata"]["name"] == name_of("sums", "rollout", 3, 7) == "sums-rollout-3-a7"
    assert manifest["metadata"]["labels"] == {
        "rlvr.dev/managed": "true",
        "rlvr.dev/job": "sums",
        "rlvr.dev/role": "rollout",
        "rlvr.dev/index": "3",
        "rlvr.dev/attempt": "7",
    }
    assert manifest["metadata"]["annotations"] == {"rlvr.dev/failures": "2"}
    assert manifest["spec"]["hostname"] == "rollout-3"


def test_the_longest_name_fits_a_dns_label() -> None:
    assert len(name_of("a" * 40, "learner", 4095, 999)) == 58


def test_the_coordinator_stands_beside_rank_0_and_shares_its_work_folder() -> None:
    job = a_seen_job(learner=BIG)
    first, second = a_pod(job, "learner", 0), a_pod(job, "learner", 1)

    assert [item["name"] for item in first["spec"]["containers"]] == ["learner", "coordinator"]
    assert [item["name"] for item in second["spec"]["containers"]] == ["learner"]
    assert {"name": "work", "mountPath": "/var/lib/rlvr"} in a_container(first, "learner")["volumeMounts"]
    assert {"name": "work", "mountPath": "/var/lib/rlvr"} in a_container(first, "coordinator")["volumeMounts"]


def test_the_coordinator_is_told_its_address_and_reads_those_of_others_in_the_jobs_file() -> None:
    told = environment_of(a_pod(a_seen_job(), "learner", attempt=4), "coordinator")

    assert told["RLVR_PUBLIC_URL"] == "http://learner-0.sums.research.svc.cluster.local:8470"
    assert (told["RLVR_ATTEMPT"], told["RLVR_HOST"], told["RLVR_PORT"]) == ("4", "0.0.0.0", "8470")
    assert not {"RLVR_ROLLOUTS", "RLVR_REWARDS"} & told.keys(), "replicas may be added while it runs"


@pytest.mark.parametrize(
    ("role", "container", "port"),
    [
        ("learner", "learner", "8473"),
        ("rollout", "agent", "8471"),
        ("rollout", "engine", "8000"),
        ("reward", "reward", "8472"),
    ],
)
def test_every_role_process_finds_its_surroundings(role: str, container: str, port: str) -> None:
    told = environment_of(a_pod(a_seen_job(), role, 0), container)

    assert (told["RLVR_JOB"], told["RLVR_DIR"]) == ("/etc/rlvr/job.json", "/var/lib/rlvr")
    assert (told["RLVR_TOKEN_FILE"], told["RLVR_PORT"]) == ("/var/run/secrets/rlvr.dev/token", port)


def test_the_token_is_for_this_job_and_short_lived() -> None:
    volumes = {volume["name"]: volume for volume in a_pod(a_seen_job(), "reward")["spec"]["volumes"]}

    assert volumes["token"]["projected"]["sources"] == [
        {"serviceAccountToken": {"audience": UID, "expirationSeconds": 3600, "path": "token"}}
    ]


def test_a_pod_starts_its_own_ranks_and_those_of_all_pods_meet_at_the_first() -> None:
    one, many = a_pod(a_seen_job(), "learner"), a_pod(a_seen_job(learner=BIG), "learner", 1, attempt=5)

    command = ["python3", "-m", "rlvr_trainer", "learner"]
    assert a_container(one, "learner")["command"] == a_container(many, "learner")["command"] == command
    told = environment_of(many, "learner")
    assert (told["MASTER_ADDR"], told["MASTER_PORT"]) == ("learner-0.sums.research.svc.cluster.local", "29400")
    assert (told["RLVR_INDEX"], told["RLVR_ATTEMPT"]) == ("1", "5")
    assert "MASTER_ADDR" not in environment_of(one, "learner")


def test_the_first_learner_pod_says_last_words_where_the_kubelet_reads_them() -> None:
    first, second = (a_pod(a_seen_job(learner=BIG), "learner", index) for index in (0, 1))

    words = [environment_of(first, name)["RLVR_LAST_WORDS"] for name in ("learner", "coordinator")]
    assert words == ["/dev/termination-log"] * 2
    assert "RLVR_LAST_WORDS" not in environment_of(second, "learner")
    messages = {a_container(first, name).get("terminationMessagePath", words[0]) for name in ("learner", "coordinator")}
    assert messages == {words[0]}


def test_credentials_of_the_store_reach_the_learner_and_nobody_else() -> None:
    job = a_seen_job(checkpoint={"secretRef": {"name": "store"}})

    holders = {
        container["name"]: container["envFrom"]
        for manifest in all_pods(job)
        for container in manifest["spec"]["containers"]
        if "envFrom" in container
    }

    assert holders == {"learner": [{"secretRef": {"name": "store"}}]}


def test_a_learner_never_starts_again_in_its_pod_and_others_do() -> None:
    policies = {role: a_pod(a_seen_job(), role)["spec"]["restartPolicy"] for role in ("learner", "rollout", "reward")}

    assert policies == {"learner": "Never", "rollout": "Always", "reward": "Always"}


@pytest.mark.parametrize(("given", "grace", "saves"), [(None, 90, "45"), (600, 600, "555")])
def test_a_learner_is_given_time_to_save_and_told_how_much(given: int | None, grace: int, saves: str) -> None:
    template = {"spec": {"terminationGracePeriodSeconds": given}} if given else {}
    manifest = a_pod(a_seen_job(learner={"template": template}), "learner")

    assert manifest["spec"]["terminationGracePeriodSeconds"] == grace
    assert environment_of(manifest, "learner")["RLVR_SAVE_SECONDS"] == saves


@pytest.mark.parametrize(("seconds", "tries"), [(1800, 360), (7, 2), (1, 1)])
def test_roles_may_take_the_start_up_deadline_to_begin(seconds: int, tries: int) -> None:
    job = a_seen_job(limits={"startupDeadlineSeconds": seconds})

    probe = a_container(a_pod(job, "reward"), "reward")["startupProbe"]

    assert (probe["periodSeconds"], probe["failureThreshold"], probe["httpGet"]["path"]) == (5, tries, "/health")


def test_a_rollout_is_ready_with_its_policy_and_alive_without() -> None:
    agent = a_container(a_pod(a_seen_job(), "rollout"), "agent")

    assert agent["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8471}
    assert agent["livenessProbe"]["tcpSocket"] == {"port": 8471}
    assert "startupProbe" not in agent


def test_vllm_listens_on_loopback_and_is_asked_from_inside() -> None:
    engine = a_container(a_pod(a_vllm_job(), "rollout"), "engine")

    assert engine["command"] == ["vllm", "serve"]
    assert engine["args"] == [
        *("/models/base", "--host", "127.0.0.1", "--port", "8000", "--dtype", "float32"),
        *("--max-num-seqs", "256", "--tensor-parallel-size", "1", "--gpu-memory-utilization", "0.9"),
        *(
            "--enable-scale-out",
            "--scheduling-policy",
            "priority",
            "--logprobs-mode",
            "processed_logprobs",
            "--generation-config",
            "vllm",
        ),
    ]
    assert "127.0.0.1:8000/health" in engine["livenessProbe"]["exec"]["command"][2]
    assert "ports" not in engine
    assert engine["image"] == KIT.engine_image


def test_vllm_opens_its_weight_routes_for_the_agent() -> None:
    assert environment_of(a_pod(a_vllm_job(), "rollout"), "engine")["VLLM_SERVER_DEV_MODE"] == "1"


def test_vllm_that_takes_broadcasts_is_told_so_and_asked_by_what_goes_through_its_workers() -> None:
    job = a_vllm_job(rollout={"weightTransfer": "nccl"}, learner={"gpusPerNode": 1})

    engine = a_container(a_pod(job, "rollout"), "engine")

    assert engine["args"][-2:] == ["--weight-transfer-config", '{"backend":"nccl"}']
    assert "127.0.0.1:8000/weight_info" in engine["livenessProbe"]["exec"]["command"][2]
    assert "127.0.0.1:8000/health" in engine["startupProbe"]["exec"]["command"][2]


@pytest.mark.parametrize(
    ("model", "begins"),
    [
        ({"hub": {"repository": "Qwen/Qwen3-8B", "revision": "abc"}}, ["Qwen/Qwen3-8B", "--revision", "abc", "--host"]),
        ({"path": "file:///models/x"}, ["/models/x", "--host"]),
    ],
)
def test_vllm_loads_the_base_model(model: dict[str, object], begins: list[str]) -> None:
    job = a_seen_job(model=model, rollout={"sampling": {"maxTokens": 64}})

    assert a_container(a_pod(job, "rollout"), "engine")["args"][: len(begins)] == begins


def test_vllm_is_told_the_longest_context_when_there_is_one() -> None:
    job = a_seen_job(model={"path": "/m", "maxContext": 4096}, rollout={"sampling": {"maxTokens": 64}})

    arguments = a_container(a_pod(job, "rollout"), "engine")["args"]

    assert arguments[arguments.index("--max-model-len") + 1] == "4096"


def test_the_local_engine_is_the_trainers_own() -> None:
    engine = a_container(a_pod(a_seen_job(), "rollout"), "engine")

    assert (engine["command"], engine["image"]) == (["python3", "-m", "rlvr_trainer", "engine"], KIT.trainer_image)
    assert "limits" not in engine["resources"]


def test_roles_with_torch_have_shared_memory() -> None:
    job = a_seen_job()

    with_shm = {
        container["name"]
        for manifest in all_pods(job)
        for container in manifest["spec"]["containers"]
        if {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]
    }

    assert with_shm == {"learner", "engine"}


def test_a_reward_pod_has_a_sandbox_and_a_limit_on_memory() -> None:
    reward = {"verifiers": [{"exact": {"answerAfter": "#"}}], "workers": 4, "runtimeClassName": "gvisor"}
    manifest = a_pod(a_seen_job(reward=reward), "reward")

    assert manifest["spec"]["runtimeClassName"] == "gvisor"
    assert a_container(manifest, "reward")["resources"] == {
        "requests": {"cpu": "400m", "memory": "768Mi"},
        "limits": {"memory": "9Gi"},
    }


def test_priority_is_for_all_and_a_topology_for_learners() -> None:
    job = a_seen_job(scheduling={"priorityClassName": "high", "topologyKey": "rack"})
    learner, *others = all_pods(job)

    assert {manifest["spec"]["priorityClassName"] for manifest in (learner, *others)} == {"high"}
    assert learner["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == [
        {
            "topologyKey": "rack",
            "labelSelector": {"matchLabels": {"rlvr.dev/job": "sums", "rlvr.dev/role": "learner"}},
        }
    ]
    assert all("affinity" not in manifest["spec"] for manifest in others)


def test_another_cluster_domain_is_in_every_address() -> None:
    kit = replace(KIT, cluster_domain="k8s.example")
    manifest = a_pod(a_seen_job(learner=BIG), "learner", kit=kit)

    assert environment_of(manifest, "learner")["MASTER_ADDR"] == "learner-0.sums.research.svc.k8s.example"
    assert environment_of(manifest, "coordinator")["RLVR_PUBLIC_URL"].endswith(".svc.k8s.example:8470")

"""GPUs by default, whatever else the template names instead."""

from typing import Any

import pytest

from rlvr_operator.workloads import conflicts
from workload_builders import a_container, a_pod, a_seen_job, a_vllm_job

GPU = "nvidia.com/gpu"


def an_engine(**fields: Any) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "engine", **fields}]}}}


def a_learner_job(gpus: int, **fields: Any) -> Any:
    template = {"spec": {"containers": [{"name": "learner", **fields}]}}
    backend = {"deepspeed": {}}
    return a_seen_job(learner={"gpusPerNode": gpus, "backend": backend, **({"template": template} if fields else {})})


def resources(job: Any, role: str, container: str) -> dict[str, Any]:
    return a_container(a_pod(job, role), container)["resources"]


def tensor_parallel(job: Any) -> str:
    arguments = a_container(a_pod(job, "rollout"), "engine")["args"]
    return arguments[arguments.index("--tensor-parallel-size") + 1]


def test_a_learner_has_its_gpus_and_more_of_the_rest() -> None:
    assert resources(a_learner_job(8), "learner", "learner") == {
        "requests": {"cpu": "32", "memory": "128Gi"},
        "limits": {GPU: "8"},
    }
    assert "limits" not in resources(a_learner_job(0), "learner", "learner")


def test_vllm_has_one_gpu_unless_its_template_says_otherwise() -> None:
    several = a_vllm_job(rollout=an_engine(resources={"limits": {GPU: 4}}))

    assert (resources(a_vllm_job(), "rollout", "engine")["limits"], tensor_parallel(a_vllm_job())) == ({GPU: "1"}, "1")
    assert (resources(several, "rollout", "engine")["limits"], tensor_parallel(several)) == ({GPU: 4}, "4")


def test_another_device_takes_the_place_of_nvidias() -> None:
    amd = {"limits": {"amd.com/gpu": "2"}}

    assert resources(a_learner_job(2, resources=amd), "learner", "learner")["limits"] == {"amd.com/gpu": "2"}
    assert tensor_parallel(a_vllm_job(rollout=an_engine(resources=amd))) == "2"


def test_a_claim_takes_the_place_of_a_resource() -> None:
    claims = {"claims": [{"name": "gpu"}]}
    template = {
        "spec": {
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
            "containers": [{"name": "engine", "resources": claims}],
        }
    }
    manifest = a_pod(a_vllm_job(rollout={"template": template}), "rollout")

    assert a_container(manifest, "engine")["resources"] == {"requests": {"cpu": "4", "memory": "16Gi"}, **claims}
    assert manifest["spec"]["resourceClaims"] == template["spec"]["resourceClaims"]


def test_a_network_device_beside_gpus_does_not_count() -> None:
    job = a_vllm_job(rollout=an_engine(resources={"limits": {GPU: 8, "vpc.amazonaws.com/efa": 32}}))

    assert (tensor_parallel(job), conflicts(job.spec)) == ("8", ())  # type: ignore[arg-type]


def test_two_kinds_of_unknown_devices_need_a_word_from_the_user() -> None:
    limits = {"amd.com/gpu": 8, "rdma/hca": 1}
    unclear = a_vllm_job(rollout=an_engine(resources={"limits": limits}))
    said = a_vllm_job(rollout=an_engine(resources={"limits": limits}, args=["--tensor-parallel-size", "8"]))

    assert conflicts(unclear.spec) == (  # type: ignore[arg-type]
        (
            "rollout.template.spec.containers engine asks for several kinds of devices (amd.com/gpu, rdma/hca): say "
            'how many GPUs the engine spans with args ["--tensor-parallel-size", "8"], for example'
        ),
    )
    assert conflicts(said.spec) == ()  # type: ignore[arg-type]
    assert a_container(a_pod(said, "rollout"), "engine")["args"][-2:] == ["--tensor-parallel-size", "8"]


@pytest.mark.parametrize(("asked", "wanted"), [(4, 8), (8, 0)])
def test_gpus_of_the_template_and_of_the_learner_must_agree(asked: int, wanted: int) -> None:
    job = a_learner_job(wanted, resources={"limits": {GPU: asked}})

    assert conflicts(job.spec) == (
        (
            f"learner.template.spec.containers learner asks for {asked} {GPU}, but learner.gpusPerNode is {wanted}: "
            "make them equal"
        ),
    )


@pytest.mark.parametrize("count", ["many", "-1", "²", None, [], {}])
def test_a_count_that_is_no_number_is_left_to_the_api_server(count: Any) -> None:
    job = a_vllm_job(rollout=an_engine(resources={"limits": {GPU: count}}))

    assert conflicts(job.spec) == ()  # type: ignore[arg-type]
    assert a_pod(job, "rollout")["kind"] == "Pod"

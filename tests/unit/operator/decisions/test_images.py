"""Images that cannot be had."""

from operator_builders import LONG_AGO, NOW, a_job, a_pod, a_pod_without_its_image, a_status, facts
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.images import image_is_missing

STARTING = a_status(running_at=None)


def test_a_name_that_no_image_can_have_fails_the_job_at_once() -> None:
    pod = a_pod_without_its_image("reward", reason="InvalidImageName", placed_at=NOW)

    intent = image_is_missing(facts(a_job(status=STARTING), pod))

    assert intent is not None and intent.ending is not None
    assert intent.ending.reason == "ImagePull"
    assert intent.ending.message == (
        "pod sums-reward-0-a0, container reward: InvalidImageName of image registry.example/no:1: not found"
    )


def test_other_trouble_has_until_the_startup_deadline() -> None:
    job = a_job(status=STARTING, limits={"startupDeadlineSeconds": 3600})
    pod = a_pod_without_its_image("rollout")

    assert image_is_missing(facts(job, pod, now=NOW - 1)) is None
    intent = image_is_missing(facts(job, pod))
    assert intent is not None and intent.ending is not None
    assert "sums-rollout-0-a0" in intent.ending.message
    assert "registry.example/no:1" in intent.ending.message


def test_it_looks_again_at_that_time() -> None:
    job = a_job(status=a_status(), limits={"startupDeadlineSeconds": 3611})

    assert look_again_after(facts(job, a_pod("learner"), a_pod("reward"), a_pod_without_its_image())) == 11


def test_a_role_that_has_enough_without_the_pod_goes_on() -> None:
    rollout = {"engine": "local", "sampling": {"maxTokens": 64}, "replicas": 2}
    job = a_job(status=a_status(), rollout=rollout, limits={"startupDeadlineSeconds": 60})

    assert image_is_missing(facts(job, a_pod("rollout", 0), a_pod_without_its_image("rollout", 1))) is None


def test_a_container_that_is_only_being_created_is_no_trouble() -> None:
    job = a_job(status=STARTING, limits={"startupDeadlineSeconds": 60})
    pod = a_pod_without_its_image("rollout", reason="CreateContainerConfigError", placed_at=LONG_AGO)

    assert image_is_missing(facts(job, pod)) is None

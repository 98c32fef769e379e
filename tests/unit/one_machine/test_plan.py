from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from builders import a_job
from rlvr_trainer.one_machine.folder import RunFolder
from rlvr_trainer.one_machine.plan import command, limits_of, num_ports, plan, scrape_targets
from rlvr_trainer.one_machine.ports import free_ports
from rlvr_trainer.one_machine.state import OnExit, Rule
from rlvr_trainer.surroundings import read_surroundings

FOLDER = RunFolder(Path("/runs/test"))
TWO = {"engine": "local", "sampling": {"maxTokens": 64}, "replicas": 2}


def test_a_job_is_its_judges_its_rollouts_the_learner_and_the_coordinator() -> None:
    specs = plan(a_job(rollout=TWO), folder=FOLDER, ports=range(100, 200))

    assert [(spec.name, spec.role, spec.port) for spec in specs] == [
        ("reward-0", "reward", 100),
        ("rollout-0-engine", "engine", 101),
        ("rollout-0-agent", "rollout", 102),
        ("rollout-1-engine", "engine", 103),
        ("rollout-1-agent", "rollout", 104),
        ("learner-0", "learner", 105),
        ("coordinator", "coordinator", 106),
    ]
    assert num_ports(a_job(rollout=TWO)) == len(specs)


def test_only_learner_and_coordinator_share_an_attempt_and_only_the_learner_saves() -> None:
    specs = plan(a_job(), folder=FOLDER, ports=range(100, 200))

    assert [spec.name for spec in specs if spec.member.rule is Rule.ATTEMPT] == ["learner-0", "coordinator"]
    assert [spec.name for spec in specs if spec.member.saves] == ["learner-0"]


def test_the_coordinator_is_told_who_samples_and_who_judges(tmp_path: Path) -> None:
    specs = plan(a_job(rollout=TWO), folder=RunFolder(tmp_path), ports=range(100, 200))
    (tmp_path / "token").write_text("secret")

    told = read_surroundings(command(specs[-1], folder=RunFolder(tmp_path), attempt=3).environment)

    assert told.rollouts == ("http://127.0.0.1:102", "http://127.0.0.1:104")
    assert told.rewards == ("http://127.0.0.1:100",)
    assert (told.attempt, told.port, told.public_url) == (3, 106, "http://127.0.0.1:106")
    assert told.run == RunFolder(tmp_path).identity()
    assert told.attempt_folder == tmp_path / "work" / "attempts" / "a003"


def test_agent_and_engine_share_a_folder_and_the_agent_knows_its_engine() -> None:
    _, engine, agent, *_ = plan(a_job(), folder=FOLDER, ports=range(100, 200))

    assert engine.folder == agent.folder == Path("/runs/test/rollout-0")
    assert agent.environment == {"RLVR_ENGINE": engine.url}


def test_vllm_takes_the_place_of_the_local_engine_and_nothing_else_changes() -> None:
    local, served = (
        plan(a_job(rollout={**TWO, "engine": engine}), folder=FOLDER, ports=range(100, 200))
        for engine in ("local", "vllm")
    )

    assert {spec.argv[-1] for spec in served} - {spec.argv[-1] for spec in local} == {"vllm"}
    assert [replace(spec, argv=()) for spec in served] == [replace(spec, argv=()) for spec in local]


def test_prometheus_finds_every_process() -> None:
    specs = plan(a_job(), folder=FOLDER, ports=range(100, 200))

    targets = scrape_targets(a_job(), specs)

    assert targets[0] == {
        "targets": ["127.0.0.1:100"],
        "labels": {"rlvr_job": "test", "role": "reward", "instance": "reward-0"},
    }
    assert len(targets) == len(specs)


def test_limits_come_from_the_job_and_reserved_codes_from_the_contract() -> None:
    rules = [{"exitCodes": [137, 9], "action": "restartFree"}, {"exitCodes": [9, 3], "action": "fail"}]
    limits = limits_of(a_job(learner={"restart": {"maxRestarts": 7, "rules": rules}}))

    assert limits.max_restarts == 7
    assert limits.active_seconds == inf
    assert limits.final_codes == {64}
    assert limits.on_exit == {
        75: OnExit.RESTART_FREE,
        137: OnExit.RESTART_FREE,
        9: OnExit.RESTART_FREE,
        3: OnExit.FAIL,
    }


@pytest.mark.parametrize("count", [0, 1, 50])
def test_ports_are_distinct_and_below_those_of_outgoing_connections(count: int) -> None:
    ports = free_ports(count)

    assert len(set(ports)) == count
    assert all(15000 <= port < 32768 for port in ports)

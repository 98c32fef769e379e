"""A real Prometheus scrapes a running job with the files that `rlvr run` leaves for it."""

from pathlib import Path

from e2e.running import kill_everything, start, wait_until
from prometheus import prometheus, scraping_run
from rlvr_trainer.metrics import TABLE

ROLES = {"coordinator", "learner", "rollout", "engine", "reward"}


def test_prometheus_scrapes_every_role_and_finds_only_declared_metrics(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with prometheus(tmp_path / "prometheus", scraping_run(run)) as server:
        process = start(run, "spec.training.steps=60", "spec.data.eval.procedural.size=16")
        try:
            # A scrape may time out when the machine is busy.
            lately = "max_over_time(up[10s]) == 1"
            wait_until(lambda: {row["metric"].get("role") for row in server.ask(lately)} == ROLES, seconds=120)
            wait_until(lambda: server.ask("rlvr_learner_step > 1"), seconds=120)
            names = {row["metric"]["__name__"] for row in server.ask('{__name__=~"rlvr_.+"}')}
        finally:
            kill_everything(run, process)
    declared = {row.name for row in TABLE}
    suffixes = ("_bucket", "_sum", "_count", "_created")
    undeclared = {name for name in names if name not in declared and not name.endswith(suffixes)}
    assert {"rlvr_learner_reward_mean", "rlvr_engine_generated_tokens_total"} <= names
    assert undeclared == set()

"""KILLS random kills over one long job on a real cluster, then the proof that nothing was lost or repeated.

    KILLS=60 SEED=0 pytest tests/e2e/cluster/soak.py -s      # `make soak KILLS=60`; not one of the tests

Prints a table of the kills: at which step, what, and after how many seconds a further step was reported.  The last line
is one JSON object.  Progress is asked for every 15 to 30 seconds, so recoveries are that much shorter than they look.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from e2e.cluster.faults import CLUSTER_FAULTS, POD_FAULTS, Fault
from e2e.cluster.jobs import Team

KILLS: Final = int(os.environ.get("KILLS", "20"))
SEED: Final = int(os.environ.get("SEED", "0"))
STEPS: Final = 30 * KILLS
"""More than are trained between the first kill and the last."""
_FAULTS: Final[dict[str, Fault]] = {**POD_FAULTS, **(CLUSTER_FAULTS if os.environ.get("RLVR_KUBERNETES") else {})}


def strike(team: Team, name: str) -> str:
    """Kill and wait for a further step; a row of the table."""
    step, began = team.step("sums"), time.monotonic()
    _FAULTS[name](team, "sums")
    team.wait_for_step("sums", step + 1)
    assert team.step("sums") < STEPS, "the job ended before the last kill: give it more steps"
    return f"{step} | {name} | {time.monotonic() - began:.0f} |"


@pytest.mark.timeout(600 + 240 * KILLS)
def test_random_kills_lose_and_repeat_nothing(team: Team, tmp_path: Path) -> None:
    chance, struck, began = random.Random(SEED), Counter[str](), time.monotonic()
    team.apply(team.manifest("sums", steps=STEPS))
    team.wait_for_step("sums", 3)
    print("\n| Kill | Step | What | Seconds to a further step |\n| --- | --- | --- | --- |", flush=True)
    for number in range(1, KILLS + 1):
        time.sleep(chance.uniform(0.0, 10.0))
        name = chance.choice(sorted(_FAULTS))
        struck[name] += 1
        print(f"| {number} | {strike(team, name)}", flush=True)
    team.wait_for_complete("sums", seconds=3600)
    account = team.prove_exactly_once("sums", tmp_path, steps=STEPS)
    summary = {
        "kills": KILLS,
        "byTarget": struck,
        "steps": team.step("sums"),
        "restarts": team.status("sums")["restarts"],
        "trained": account.trained,
        "dropped": account.dropped,
        "lost": account.lost,
        "repeated": account.repeated,
        "wallSeconds": round(time.monotonic() - began),
    }
    print(json.dumps(summary))

"""KILLS random kills over one long job on a real cluster, then the proof that nothing was lost or repeated.

    KILLS=60 SEED=0 pytest tests/e2e/cluster/soak.py -s      # `make soak KILLS=60`; not one of the tests

Prints a table of the kills: at which step, what, and after how many seconds the job had trained so many further steps
that they cannot have been before the kill (FURTHER, about 10 s of training); then one of what was killed, how often,
and how long that took.  The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from e2e.cluster.faults import CLUSTER_FAULTS, POD_FAULTS, Fault, revival, strike
from e2e.cluster.jobs import ENDLESS, Team

KILLS: Final = int(os.environ.get("KILLS", "20"))
SEED: Final = int(os.environ.get("SEED", "0"))
_FAULTS: Final[dict[str, Fault]] = {**POD_FAULTS, **(CLUSTER_FAULTS if os.environ.get("RLVR_KUBERNETES") else {})}


@pytest.mark.timeout(600 + 240 * KILLS)
def test_random_kills_lose_and_repeat_nothing(team: Team, tmp_path: Path) -> None:
    chance, took, began = random.Random(SEED), defaultdict[str, list[float]](list), time.monotonic()
    team.apply(team.manifest("sums", steps=ENDLESS))
    team.wait_for_step("sums", 3)
    print("\n| Kill | Step | What | Seconds to 25 further steps |\n| --- | --- | --- | --- |", flush=True)
    with revival():
        for number in range(1, KILLS + 1):
            time.sleep(chance.uniform(0.0, 10.0))
            name = chance.choice(sorted(_FAULTS))
            step = team.step("sums")
            took[name].append(strike(team, "sums", _FAULTS[name]))
            print(f"| {number} | {step} | {name} | {took[name][-1]:.0f} |", flush=True)
        last = team.end_soon("sums", tmp_path)
        team.wait_for_complete("sums")
    account = team.prove_exactly_once("sums", tmp_path, steps=last)
    print("\n".join(by_target(took)))
    summary = {
        "kills": KILLS,
        "steps": team.step("sums"),
        "restarts": team.status("sums")["restarts"],
        "trained": account.trained,
        "dropped": account.dropped,
        "lost": account.lost,
        "repeated": account.repeated,
        "wallSeconds": round(time.monotonic() - began),
    }
    print(json.dumps(summary))


def by_target(took: Mapping[str, Sequence[float]]) -> list[str]:
    """Lines of a table."""
    rows = [
        f"| {name} | {len(seconds)} | {statistics.median(seconds):.0f} | {max(seconds):.0f} |"
        for name, seconds in sorted(took.items())
    ]
    return ["| What | Kills | Median seconds | Longest |", "| --- | --- | --- | --- |", *rows]

"""What moving rollouts to a new policy costs, as a share of a step: the pause alone, and all of it.

    python tests/bench/bench_updates.py [--engine vllm] [--set spec.training.steps=12]

The default job, whole.  The baseline is the time from one finished step to the next of the same run.  `pauseShare` is
from the pause to the moment generation goes on; `wholeShare` adds fetching (the old policy still generates) and the
probe (the new one does, and its answers wait).
"""

import argparse
import json
import re
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from e2e.running import committed_history, run_to_end

UPDATED = re.compile(r"policy (\d+)-\S+ by (\S+): fetched in (\S+) s, paused for (\S+) s, probed in (\S+) s")


def updates(folder: Path) -> list[dict[str, Any]]:
    """Every update that an agent told of, but the first policy of a new engine."""
    found = []
    for log in sorted((folder / "logs").iterdir()):
        for step, how, *seconds in UPDATED.findall(log.read_text()):
            parts = zip(("fetch", "pause", "probe"), map(float, seconds), strict=True)
            found.append({"step": int(step), "how": how, **dict(parts)})
    return [update for update in found if update["step"] > 0]


def summary(folder: Path) -> dict[str, Any]:
    reports, found = committed_history(folder), updates(folder)
    step = median(later.finished_at - earlier.finished_at for earlier, later in pairwise(reports))
    fetch, pause, probe = (median(update[part] for update in found) for part in ("fetch", "pause", "probe"))
    return {
        "by": sorted({update["how"] for update in found}),
        "updates": len(found),
        "stepSeconds": round(step, 3),
        "fetchSeconds": round(fetch, 3),
        "pauseSeconds": round(pause, 3),
        "probeSeconds": round(probe, 3),
        "pauseShare": round(pause / step, 4),
        "wholeShare": round((fetch + pause + probe) / step, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=["local", "vllm"], default="vllm")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    settings = (f"spec.rollout.engine={options.engine}", *options.settings)
    with tempfile.TemporaryDirectory(prefix="rlvr-updates-") as scratch:
        run_to_end(Path(scratch) / "run", *settings, timeout=3600)
        print(json.dumps({"engine": options.engine, **summary(Path(scratch) / "run")}))


if __name__ == "__main__":
    main()

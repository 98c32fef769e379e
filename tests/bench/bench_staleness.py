"""Synchronous against asynchronous at equal samples: wall clock, idle learner, accuracy; lengths have a long tail.

    python tests/bench/bench_staleness.py [--steps 24] [--staleness 0 1 4]

Two rollouts; training problems of 2 to 8 terms, whose answers the model writes step by step, so that few completions
take several times as long as most.  The baseline, `speedup` 1, is the first staleness of the same call.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from e2e.running import committed_history, run_to_end

SETTINGS = (
    "spec.training.promptsPerStep=32",
    "spec.rollout.replicas=2",
    "spec.rollout.sampling.maxTokens=160",
    "spec.data.train.procedural.params.min_terms=2",
    "spec.data.train.procedural.params.max_terms=8",
)


def one(staleness: int, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    asked = (f"spec.training.steps={options.steps}", f"spec.training.maxStaleness={staleness}", *options.settings)
    result = run_to_end(folder, *SETTINGS, *asked, timeout=3600)
    reports = committed_history(folder)
    waited = sum(report.metrics['rlvr_learner_step_seconds{phase="wait"}'] for report in reports[1:])
    seconds = reports[-1].finished_at - reports[0].finished_at
    return {
        "maxStaleness": staleness,
        "seconds": round(seconds, 2),
        "idle": round(waited / seconds, 3),
        "largestLag": max(report.metrics["rlvr_learner_staleness_steps_max"] for report in reports),
        "mismatchKl": max(report.metrics["rlvr_learner_mismatch_kl_nats"] for report in reports),
        "before": result["evalAccuracyBefore"],
        "after": result["evalAccuracyAfter"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--staleness", type=int, nargs="+", default=[0, 1, 4])
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="rlvr-staleness-") as scratch:
        for staleness in options.staleness:
            row = one(staleness, Path(scratch) / f"s{staleness}", options)
            rows.append(row | {"speedup": round((rows or [row])[0]["seconds"] / row["seconds"], 2)})
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps({"steps": options.steps, "runs": rows}))


if __name__ == "__main__":
    main()

"""Train the example job with several seeds and print held-out accuracy before and after.

    python tests/bench/bench_learning.py --seeds 0 1 2 [--set spec.training.steps=30]

The baseline is the same run's evaluation of the base model, before the first step, on the same held-out prompts.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from e2e.running import run_to_end


def one_seed(seed: int, scratch: Path, settings: list[str]) -> dict[str, Any]:
    result = run_to_end(scratch / f"seed-{seed}", f"spec.training.seed={seed}", *settings)
    before, after = result["evalAccuracyBefore"], result["evalAccuracyAfter"]
    row = {"seed": seed, "before": before, "after": after, "gain": after - before, "wallSeconds": result["wallSeconds"]}
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rlvr-learning-") as scratch:
        rows = [one_seed(seed, Path(scratch), options.settings) for seed in options.seeds]
    print(json.dumps({"smallestGain": min(row["gain"] for row in rows), "runs": rows}))


if __name__ == "__main__":
    main()

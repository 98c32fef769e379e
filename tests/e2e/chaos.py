"""Kill a training run at random moments, resume it, and prove that nothing was lost or repeated.

    python tests/e2e/chaos.py --kills 20 [--seed 0]

A reference run is never interrupted.  The victim has its whole process group or one role killed with SIGKILL, is
started again when it ended, and must reach the same final step with the same weights, bit for bit (staleness 0).
The last line printed is one JSON object.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from e2e.running import (
    Account,
    kill,
    kill_everything,
    newest_checkpoint,
    prove_exactly_once,
    role_processes,
    run_to_end,
    start,
)

STEPS, PROMPTS = 24, 8
SETTINGS = (
    f"spec.training.steps={STEPS}",
    f"spec.training.promptsPerStep={PROMPTS}",
    "spec.training.groupSize=4",
    "spec.training.maxStaleness=0",
    "spec.data.eval.procedural.size=16",
    "spec.checkpoint.every=3",
    "spec.learner.restart.maxRestarts=1000",
    "spec.learner.restart.noProgressAttempts=1000",
)
ROLES = ("supervisor", "learner", "coordinator", "rollout", "engine", "reward", "everything")


def weights(folder: Path) -> bytes:
    return (newest_checkpoint(folder) / "model.safetensors").read_bytes()


def strike(folder: Path, process: subprocess.Popen[bytes], target: str, chance: random.Random) -> bool:
    """Kill `target`; False when no such process was there to kill."""
    if target == "everything":
        kill_everything(folder, process)
        return True
    if target == "supervisor":
        kill(process.pid)
        return True
    victims = [pid for pid, role in role_processes(folder).items() if role == target]
    if victims:
        kill(chance.choice(victims))
    return bool(victims)


def victim_run(folder: Path, kills: int, targets: Iterator[str], chance: random.Random) -> Counter[str]:
    """One run to its end under at most `kills` kills at random moments; what was killed, counted."""
    struck: Counter[str] = Counter()
    process = start(folder, *SETTINGS)
    while True:
        try:
            code = process.wait(chance.uniform(0.3, 8.0) if struck.total() < kills else 600)
        except subprocess.TimeoutExpired:
            target = next(targets)
            struck[target] += strike(folder, process, target, chance)
            continue
        if code == 0:
            return struck
        kill_everything(folder, process)  # what the killed supervisor may have left; its children die with it anyway
        process = start(folder, *SETTINGS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, struck, accounts, began = random.Random(options.seed), Counter[str](), list[Account](), time.monotonic()
    same_weights: list[bool] = []
    with tempfile.TemporaryDirectory(prefix="rlvr-chaos-") as scratch:
        reference = Path(scratch) / "reference"
        run_to_end(reference, *SETTINGS)
        prove_exactly_once(reference, steps=STEPS, prompts_per_step=PROMPTS)
        print(f"reference run: {STEPS} steps in {time.monotonic() - began:.0f} s", flush=True)
        targets = cycle(ROLES)
        while struck.total() < options.kills:
            folder = Path(scratch) / f"victim-{len(accounts)}"
            struck += victim_run(folder, options.kills - struck.total(), targets, chance)
            accounts.append(prove_exactly_once(folder, steps=STEPS, prompts_per_step=PROMPTS))
            same_weights.append(weights(folder) == weights(reference))
            print(f"run {len(accounts)}: {struck.total()} of {options.kills} kills so far, {accounts[-1]}", flush=True)
    summary = {
        "kills": struck.total(),
        "byTarget": struck,
        "runs": len(accounts),
        "lost": sum(account.lost for account in accounts),
        "repeated": sum(account.repeated for account in accounts),
        "sameWeights": all(same_weights),
        "wallSeconds": round(time.monotonic() - began),
    }
    print(json.dumps(summary))
    if not all(same_weights):
        sys.exit("an interrupted run ended with other weights than the reference run")


if __name__ == "__main__":
    main()

"""Kill and freeze rollouts at random moments while a job trains, and prove that no group and no label went wrong.

    python tests/e2e/chaos_rollouts.py --kills 50 [--seed 0]

Two rollouts, one step of staleness: completions outlive updates.  A strike kills (SIGKILL) or freezes (SIGSTOP, for a
while) an engine or the agent before it.  Afterwards every prompt is trained or dropped once, and every sampled token
of every batch is scored again under the policy that its label names.  The last line printed is one JSON object.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from e2e.rescoring import Rescored, everything_kept, rescore
from e2e.running import Account, kill_everything, output, prove_exactly_once, role_processes, start

STEPS, PROMPTS = 30, 16
SETTINGS = (
    f"spec.training.steps={STEPS}",
    f"spec.training.promptsPerStep={PROMPTS}",
    "spec.training.groupSize=4",
    "spec.training.maxStaleness=1",
    "spec.rollout.replicas=2",
    "spec.data.eval.procedural.size=16",
    "spec.checkpoint.every=5",
)
KINDS = tuple((role, how) for role in ("rollout", "engine") for how in ("killed", "hung"))
RUN_SECONDS = 1800


@dataclass
class Strikes:
    """What was done so far, and what is frozen."""

    chance: random.Random
    left: int
    struck: Counter[str] = field(default_factory=Counter)
    frozen: dict[int, float] = field(default_factory=dict)
    """Process -> when it may go on."""
    deck: list[tuple[str, str]] = field(default_factory=list)
    """What comes next, the last first: every kind comes up before any does again."""

    def strike(self, folder: Path) -> None:
        """One, at random, if its victim is there; of two rollouts one is always left alone."""
        self.deck = self.deck or self.chance.sample(KINDS, len(KINDS))
        role, how = self.deck[-1]
        victims = sorted(pid for pid, found in role_processes(folder).items() if found == role)
        if not victims or self.frozen:
            return
        victim = self.chance.choice(victims)
        self.left -= 1
        self.deck.pop()
        self.struck[f"{role} {how}"] += 1
        _signal(victim, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        if how == "hung":
            self.frozen[victim] = time.monotonic() + self.chance.uniform(1.0, 15.0)

    def thaw(self, *, all_of_them: bool = False) -> None:
        for pid, until in list(self.frozen.items()):
            if all_of_them or time.monotonic() >= until:
                _signal(pid, signal.SIGCONT)
                del self.frozen[pid]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def struck_run(folder: Path, strikes: Strikes) -> None:
    """One run to its end; it must end well without being started again."""
    process = start(folder, *SETTINGS)
    ends, next_strike = time.monotonic() + RUN_SECONDS, time.monotonic() + 10.0
    try:
        while process.poll() is None:
            assert time.monotonic() < ends, output(folder)[-3000:]
            strikes.thaw()
            if strikes.left and time.monotonic() >= next_strike and not strikes.frozen:
                strikes.strike(folder)
                next_strike = time.monotonic() + strikes.chance.uniform(1.0, 8.0)
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        assert process.returncode == 0, output(folder)[-4000:]
    finally:
        strikes.thaw(all_of_them=True)
        kill_everything(folder, process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    strikes, began = Strikes(random.Random(options.seed), options.kills), time.monotonic()
    accounts: list[Account] = []
    scores: list[Rescored] = []
    with tempfile.TemporaryDirectory(prefix="rlvr-chaos-rollouts-") as scratch:
        while strikes.left:
            run, kept = Path(scratch) / f"run-{len(accounts)}", Path(scratch) / f"kept-{len(accounts)}"
            with everything_kept(run, kept):
                struck_run(run, strikes)
            accounts.append(prove_exactly_once(run, steps=STEPS, prompts_per_step=PROMPTS))
            scores.append(rescore(kept))
            print(f"run {len(accounts)}: {dict(strikes.struck)}, {accounts[-1]}", flush=True)
    summary = summarised(strikes, accounts, scores) | {"wallSeconds": round(time.monotonic() - began)}
    print(json.dumps(summary))
    if summary["wrongLabels"]:
        sys.exit("some tokens were not sampled by the policy on their label")


def summarised(strikes: Strikes, accounts: list[Account], scores: list[Rescored]) -> dict[str, object]:
    powers = [score.power for score in scores if score.power is not None]
    return {
        "strikes": strikes.struck.total(),
        "byKind": strikes.struck,
        "runs": len(accounts),
        "lost": sum(account.lost for account in accounts),
        "repeated": sum(account.repeated for account in accounts),
        "tokensScoredAgain": sum(score.tokens for score in scores),
        "wrongLabels": sum(score.wrong for score in scores),
        "largestDifferenceNats": max(score.largest for score in scores),
        "medianDifferenceUnderThePolicyBefore": min(powers, default=None),
        "completionsOfSeveralPolicies": sum(score.mixed for score in scores),
    }


if __name__ == "__main__":
    main()

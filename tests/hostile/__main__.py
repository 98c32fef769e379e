"""`python -m hostile [--sample N]`: hostile programs and answers against reward services, here or in a pod.

The last line is one JSON object.  Exit code 0: nothing escaped, no verdict was lost or late, and every service is
healthy.  An escape is a verdict of correct, a secret in a reason, a canary that was touched, or a process left behind.
Needs Python and rlvr_trainer only.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex
from typing import Any

from hostile.canaries import Canaries, canaries
from hostile.corpus import Hostile, corpus, sample
from hostile.lane import DEADLINE_SECONDS, Judged, open_lane
from rlvr_trainer.jail.boundary import open_jail

GRACE_SECONDS = 5.0
"""What a verdict may take beyond its deadline before it counts as late: killing, and a busy machine."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=0, help="about so many items, of every family; 0: all")
    parser.add_argument("--lanes", type=int, default=2, help="services at the same time")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "canaries").mkdir()
        with canaries(Path(folder) / "canaries") as put_out:
            everything = corpus(put_out.scene, wanted=f"wanted{token_hex(12)}")
            items = sample(everything, options.sample) if options.sample else everything
            report, complaints = examine(items, put_out, folder=Path(folder), lanes=options.lanes)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(json.dumps({**report, "seconds": round(time.monotonic() - began)}))
    is_well = report["healthy"] and not (report["escapes"] or report["lost"] or report["late"])
    return 0 if is_well else 1


def examine(
    items: Sequence[Hostile], put_out: Canaries, *, folder: Path, lanes: int
) -> tuple[dict[str, Any], list[str]]:
    """Have all items judged; the report, and what is wrong, line by line."""
    shares = [
        (verifier, [item for item in items if item.verifier == verifier][lane::lanes])
        for verifier in ("code", "math")
        for lane in range(lanes)
    ]
    with ThreadPoolExecutor(lanes) as threads:
        walked = list(
            threads.map(lambda number: walk(*shares[number], folder / str(number), put_out), range(len(shares)))
        )
    judged = [each for one in walked for each in one.judged]
    left = [f"process {pid} was left behind" for one in walked for pid in one.left]
    escapes = [*put_out.touched(), *left, *filter(None, (escape_of(each) for each in judged))]
    lost = [f"{each.item.name} has no verdict: {each.reason}" for each in judged if each.outcome == "lost"]
    late = [
        f"{each.item.name} took {each.seconds:.1f} s"
        for each in judged
        if each.seconds > DEADLINE_SECONDS + GRACE_SECONDS
    ]
    report = {
        "items": len(items),
        "families": len({item.family for item in items}),
        "outcomes": dict(Counter(f"{each.item.verifier} {each.outcome}" for each in judged)),
        "escapes": len(escapes),
        "lost": len(lost) + len(items) - len(judged),
        "late": len(late),
        "slowestSeconds": round(max(each.seconds for each in judged), 2),
        "deadlineSeconds": DEADLINE_SECONDS,
        "healthy": all(one.is_healthy for one in walked),
        "layers": layers(),
    }
    return report, [*escapes, *lost, *late]


def layers() -> dict[str, bool]:
    """What the jail is made of here."""
    with open_jail() as jail:
        return jail.found.layers


def escape_of(judged: Judged) -> str | None:
    """What an item got away with."""
    if judged.outcome == "correct":
        return f"{judged.item.name} was taken for right"
    if re.search("canary[0-9a-f]{24}", judged.reason):
        return f"{judged.item.name} told a secret: {judged.reason}"
    return None


class Walk:
    """What became of a share of the items."""

    def __init__(self) -> None:
        self.judged: list[Judged] = []
        self.left: list[int] = []
        self.is_healthy = True


def walk(verifier: str, items: Sequence[Hostile], folder: Path, put_out: Canaries) -> Walk:
    """One service from its start to its end, which must be the end of every process it ever had."""
    done, seen = Walk(), set[int]()
    if not items:
        return done
    with open_lane(folder, verifier, secret=put_out.secret) as lane:
        for judged in lane.judge(items):
            done.judged.append(judged)
            seen |= set(descendants(lane.process.pid))
        done.is_healthy = len(done.judged) == len(items) and lane.is_healthy()
    done.left = still_there(seen)
    return done


def descendants(pid: int) -> Iterator[int]:
    """Processes that `pid` started, and theirs."""
    try:
        found = [
            int(each)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for each in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for child in found:
        yield child
        yield from descendants(child)


def still_there(pids: set[int], *, patience: float = 60.0) -> list[int]:
    """Those that do not end by a minute: one that was just starting has to notice."""
    ends = time.monotonic() + patience
    while (left := [pid for pid in pids if _is_alive(pid)]) and time.monotonic() < ends:
        time.sleep(0.1)
    return left


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())

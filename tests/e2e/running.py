"""Start `rlvr run` as a user does, look at its processes, kill them, and read what it left behind.

The scripts beside this file that do so at length end with one line of JSON, which `summary_of` reads.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rlvr_trainer.samples import CoordinatorState, Fate, Ledger, StepReport
from rlvr_trainer.wire import from_json

TESTS = Path(__file__).parents[1]
EXAMPLE = TESTS.parent / "examples" / "arithmetic-cpu.yaml"
RLVR = Path(sys.executable).with_name("rlvr")


def summary_of(script: str, *options: str) -> dict[str, Any]:
    """The last line of a script in this folder, which must end well."""
    done = subprocess.run(
        [sys.executable, TESTS / "e2e" / script, *options],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = msgspec.json.decode(done.stdout.splitlines()[-1])
    return found


def start(
    folder: Path,
    *settings: str,
    job: Path = EXAMPLE,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """`rlvr run JOB --dir FOLDER --plain --set ...`, output to FOLDER.log."""
    flags = [word for setting in settings for word in ("--set", setting)]
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [RLVR, "run", job, "--dir", folder, "--plain", *flags],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )


def output(folder: Path) -> str:
    return folder.with_suffix(".log").read_text()


def run_to_end(folder: Path, *settings: str, timeout: float = 600, **options: Any) -> dict[str, Any]:
    """Run a job to its end and return result.json."""
    process = start(folder, *settings, **options)
    try:
        code = process.wait(timeout)
    finally:
        kill_everything(folder, process)
    assert code == 0, output(folder)[-4000:]
    return result(folder)


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((folder / "result.json").read_bytes())
    return found


def role_processes(folder: Path) -> dict[int, str]:
    """Process id -> role of everything started for the run in `folder`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        if f"RLVR_JOB={folder}/".encode() in environment:
            found[int(entry.name)] = words[3].decode() if words[1:3] == [b"-m", b"rlvr_trainer"] else "child"
    return found


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_everything(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the supervisor and every role at once, and wait until they are gone."""
    kill(process.pid)
    process.wait()
    for pid in role_processes(folder):
        kill(pid)
    wait_until(lambda: not role_processes(folder), seconds=10)


def wait_until(question: Any, *, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < ends, f"still not true after {seconds} s"
        time.sleep(0.02)


def newest_checkpoint(folder: Path) -> Path:
    return max(path.parent for path in (folder / "checkpoints").glob("step-*/READY"))


def committed_state(folder: Path) -> CoordinatorState:
    return from_json((newest_checkpoint(folder) / "coordinator.json").read_bytes(), CoordinatorState)


def committed_history(folder: Path) -> list[StepReport]:
    lines = (newest_checkpoint(folder) / "history.jsonl").read_bytes().splitlines()
    return [from_json(line, StepReport) for line in lines]


def fates_of(report: StepReport) -> Iterator[tuple[int, Fate]]:
    """Every position that a step used up, and what became of it."""
    for start_, end, fate in (*((*span, Fate.TRAINED) for span in report.trained), *report.dropped):
        yield from ((position, fate) for position in range(start_, end))


@dataclass(frozen=True)
class Account:
    """What became of the prompts of a finished run."""

    trained: int
    dropped: int
    lost: int
    """Positions below the highest consumed one that are neither trained nor dropped."""
    repeated: int
    """Positions that were trained or dropped more than once."""


def account_of(folder: Path) -> Account:
    """Count position by position in the learner's own history, which does not know the ledger."""
    fates = [found for report in committed_history(folder) for found in fates_of(report)]
    consumed = {position for position, _ in fates}
    trained = sum(fate is Fate.TRAINED for _, fate in fates)
    return Account(
        trained=trained,
        dropped=len(fates) - trained,
        lost=max(consumed) + 1 - len(consumed),
        repeated=len(fates) - len(consumed),
    )


def prove_exactly_once(folder: Path, *, steps: int, prompts_per_step: int) -> Account:
    """The learner's history and the ledger agree: every prompt once, no gap, no step twice."""
    account, history = account_of(folder), committed_history(folder)
    fates = Counter(fate for report in history for _, fate in fates_of(report))
    assert committed_state(folder).ledger == Ledger(watermark=fates.total(), counts=fates), account
    assert [report.step for report in history] == list(range(1, steps + 1))
    assert (account.trained, account.lost, account.repeated) == (steps * prompts_per_step, 0, 0), account
    return account

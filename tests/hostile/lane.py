"""A lane: one reward service with one worker, and whoever asks it for one verdict after the other.

The service is a process of its own, as in a pod.  After each item that cost the worker its life, a harmless one is
asked about, so that a verdict's time never holds the start of the next worker, and every worker is seen to work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from hostile.corpus import Hostile

DEADLINE_SECONDS: Final = 3.0
_MOST_SECONDS: Final = 180.0
"""Longest wait for any reply; whatever takes longer is lost."""
_JOB: Final[dict[str, Any]] = {
    "apiVersion": "rlvr.dev/v1alpha1",
    "kind": "RLVRJob",
    "metadata": {"name": "hostile"},
    "spec": {
        "model": {"builtin": "arithmetic"},
        "data": {
            "train": {"procedural": {"task": "chain_sum", "size": 9}, "template": {"plain": {"text": "{question}"}}}
        },
        "algorithm": {"preset": "grpo"},
        "training": {"steps": 1},
    },
}
_HARMLESS: Final = {
    "code": Hostile(
        name="harmless",
        family="harmless",
        verifier="code",
        text="```python\nprint(int(input()) * 2)\n```",
        task={"metadata": {"tests": [{"input": "3\n", "output": "6\n"}]}},
    ),
    "math": Hostile(name="harmless", family="harmless", verifier="math", text="\\boxed{x+1}", task={"answer": "1+x"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of one item."""

    item: Hostile
    outcome: str
    """`lost` without a verdict."""
    reason: str
    seconds: float


@dataclass(slots=True)
class Lane:
    """A running service."""

    process: subprocess.Popen[bytes]
    url: str
    token: str
    verifier: str

    def judge(self, items: Sequence[Hostile]) -> Iterator[Judged]:
        for item in items:
            judged = self._ask(item)
            yield judged
            if judged.outcome in ("error", "lost") and not self.is_healthy():
                return

    def is_healthy(self) -> bool:
        """Whether the service lives and still knows right from wrong."""
        return self.process.poll() is None and self._ask(_HARMLESS[self.verifier]).outcome == "correct"

    def _ask(self, item: Hostile) -> Judged:
        began = time.monotonic()
        try:
            verdict = self._post({"id": item.name, "text": item.text, "finish": "stop", "task": item.task})
            outcome, reason = verdict["outcome"], verdict["reason"]
        except (OSError, ValueError, KeyError) as problem:
            outcome, reason = "lost", repr(problem)
        return Judged(item=item, outcome=outcome, reason=reason, seconds=time.monotonic() - began)

    def _post(self, item: dict[str, Any]) -> dict[str, Any]:
        """The verdict on one item; KeyError when it is another's."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = json.dumps({"items": [item]}).encode()
        request = urllib.request.Request(f"{self.url}/score", body, headers)
        with urllib.request.urlopen(request, timeout=_MOST_SECONDS) as reply:
            (verdict,) = json.load(reply)["verdicts"]
        if verdict["id"] != item["id"]:
            raise KeyError(item["id"])
        return dict(verdict)


@contextmanager
def open_lane(folder: Path, verifier: str, *, secret: str) -> Iterator[Lane]:
    """A service with one worker for `verifier`, whose environment has `secret`."""
    folder.mkdir()
    token = token_hex(16)
    reward = {"workers": 1, "timeoutSeconds": DEADLINE_SECONDS, "verifiers": [{verifier: {}}]}
    (folder / "job.json").write_text(json.dumps({**_JOB, "spec": {**_JOB["spec"], "reward": reward}}))
    (folder / "token").write_text(token)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RLVR_")},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "RLVR_JOB": f"{folder}/job.json",
        "RLVR_DIR": str(folder),
        "RLVR_TOKEN_FILE": f"{folder}/token",
        "CANARY": secret,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "rlvr_trainer", "reward"], env=environment, stderr=log)
    try:
        yield Lane(process, _address(folder / "log", process), token, verifier)
    finally:
        process.kill()
        process.wait()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the service listens, once it says so."""
    ends = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        _, found, rest = log.read_text(errors="replace").partition("judging at ")
        if found and " " in rest:
            return rest.split()[0]
        time.sleep(0.05)
    raise SystemExit(f"the service did not start: {log.read_text(errors='replace')[-2000:]}")

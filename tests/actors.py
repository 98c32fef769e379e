"""Tiny stand-ins for the roles of `rlvr run`: they start in milliseconds, and fail on cue.

    python actors.py ROLE        with the environment of a role, and ACT: a JSON object that says how to fail

The learner takes a step every 20 ms and leaves a checkpoint every second one; the coordinator tells how far it is.
Standard library only; the part that dies with its supervisor is the real one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

FOLDER = Path(os.environ.get("RLVR_DIR", "."))
ATTEMPT = os.environ.get("RLVR_ATTEMPT", "0")
ACT = json.loads(os.environ.get("ACT", "{}"))
STEPS = 6


def checkpoints() -> list[int]:
    return sorted(int(path.parent.name[5:]) for path in (FOLDER.parent / "checkpoints").glob("step-*/READY"))


def save(step: int) -> None:
    folder = FOLDER.parent / "checkpoints" / f"step-{step:06d}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "READY").touch()


def learn() -> None:
    """`crash`: {attempt: step at which it exits 1}; `deaf`: it does not hear SIGTERM; `stepSeconds`."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, signal.SIG_IGN if ACT.get("deaf") else lambda number, _: asked.append(number))
    step = max(checkpoints(), default=0)
    while step < STEPS:
        time.sleep(ACT.get("stepSeconds", 0.02))
        if ACT.get("crash", {}).get(ATTEMPT) == step:
            print(f"error: the learner gives up at step {step}", file=sys.stderr)
            sys.exit(ACT.get("code", 1))
        step += 1
        (FOLDER / "step").write_text(str(step))
        if asked:
            save(step)
            sys.exit(75)
        if step % 2 == 0:
            save(step)


class Progress(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = {"attempt": int(ATTEMPT), "step": step_now(), "totalSteps": STEPS, "updatedAt": time.time()}
        body = json.dumps({**known, "policy": f"{step_now()}-000000000000", "reward": 0.5})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


def step_now() -> int:
    path = FOLDER / "step"
    return int(path.read_text() or "0") if path.exists() else 0


def coordinate() -> None:
    server = HTTPServer(("127.0.0.1", int(os.environ["RLVR_PORT"])), Progress)
    Thread(target=server.serve_forever, daemon=True).start()
    while step_now() < STEPS:
        time.sleep(0.01)
    result = {"steps": STEPS, "evalAccuracyBefore": 0.25, "evalAccuracyAfter": 0.75, "tokens": 1200, "wallSeconds": 2.0}
    result |= {"trained": 24, "dropped": {}, "policy": "6-000000000000", "evaluations": []}
    (FOLDER / "result.json").write_text(json.dumps(result))


def stand_by() -> None:
    """`exits`: codes of the first so many lives; `child`: it has a child that outlives it."""
    if ACT.get("child"):
        subprocess.Popen(["sleep", "600"])
    lives = FOLDER / f"{sys.argv[1]}.lives"
    life = len(lives.read_text()) if lives.exists() else 0
    lives.write_text("x" * (life + 1))
    exits = ACT.get("exits", [])
    if life < len(exits):
        sys.exit(exits[life])
    time.sleep(600)


if __name__ == "__main__":
    if ACT.get("loyal"):
        from rlvr_trainer.__main__ import end_with_supervisor

        end_with_supervisor(int(os.environ["RLVR_SUPERVISOR"]))
    {"learner": learn, "coordinator": coordinate}.get(sys.argv[1], stand_by)()

"""Where a role process finds itself: folder, attempt, address, peers.

Read from the environment once, at the start of a process; everything about the *job* is in the job file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlvr_trainer.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The RLVR_* environment of one role process."""

    job: Path
    folder: Path
    token_file: Path
    """What this process shows to others; replaced while it runs (credentials.py)."""
    run: str = ""
    """Identity of the run that all its attempts share; without one no checkpoint counts as its own."""
    attempt: int = 0
    index: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    rollouts: tuple[str, ...] = ()
    rewards: tuple[str, ...] = ()
    engine: str = ""
    public_url: str = ""
    """How other roles reach this process's server."""
    last_words: Path | None = None
    """Where to leave what the operator should know at the end: Progress (coordinator), CheckpointProgress (learner)."""
    save_seconds: int = 45
    """From being asked to stop to giving up on a last checkpoint; whoever asks waits longer before it kills."""

    @property
    def attempt_folder(self) -> Path:
        return self.folder / "attempts" / f"a{self.attempt:03d}"


def read_surroundings(environment: Mapping[str, str]) -> Surroundings:
    """The surroundings that `environment` describes; a missing or malformed variable is named."""
    return Surroundings(
        job=Path(_required(environment, "RLVR_JOB")),
        folder=Path(_required(environment, "RLVR_DIR")),
        token_file=Path(_required(environment, "RLVR_TOKEN_FILE")),
        run=environment.get("RLVR_RUN", ""),
        attempt=_integer(environment, "RLVR_ATTEMPT"),
        index=_integer(environment, "RLVR_INDEX"),
        host=environment.get("RLVR_HOST", "127.0.0.1"),
        port=_integer(environment, "RLVR_PORT"),
        rollouts=_urls(environment, "RLVR_ROLLOUTS"),
        rewards=_urls(environment, "RLVR_REWARDS"),
        engine=environment.get("RLVR_ENGINE", ""),
        public_url=environment.get("RLVR_PUBLIC_URL", ""),
        last_words=Path(environment["RLVR_LAST_WORDS"]) if environment.get("RLVR_LAST_WORDS") else None,
        save_seconds=_integer(environment, "RLVR_SAVE_SECONDS", default="45"),
    )


def _required(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise InvalidInput(
            f"{name} is not set: role processes are started by `rlvr run` or the operator, which set it."
        )
    return environment[name]


def _integer(environment: Mapping[str, str], name: str, *, default: str = "0") -> int:
    text = environment.get(name, default)
    if not text.isdigit():
        raise InvalidInput(f"{name}={text!r} is not a whole number.")
    return int(text)


def _urls(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(url.strip().rstrip("/") for url in environment.get(name, "").split(",") if url.strip())

"""Records with good defaults: say only what a test is about.  No torch here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlvr_api import RLVRJob
from rlvr_trainer.models import builtin_path
from rlvr_trainer.samples import (
    Completion,
    Evaluation,
    Finish,
    Group,
    Outcome,
    Prompt,
    ScoredGroup,
    Span,
    Task,
    Transcript,
    Verdict,
)

ARITHMETIC = builtin_path("arithmetic")
SCORES = {Outcome.CORRECT: 1.0, Outcome.WRONG: 0.0, Outcome.MALFORMED: 0.0, Outcome.TRUNCATED: 0.0}


def a_job_dict(**sections: Any) -> dict[str, Any]:
    """A manifest in camelCase; a section replaces the default of the same name, members of `spec` only."""
    spec = {
        "model": {"builtin": "arithmetic"},
        "data": {"train": {"procedural": {"task": "chain_sum", "size": 64, "seed": 1}}},
        "algorithm": {"preset": "dapo"},
        "training": {"steps": 3, "promptsPerStep": 4, "groupSize": 4},
        "rollout": {"engine": "local", "sampling": {"maxTokens": 64}},
        "reward": {"verifiers": [{"exact": {"answerAfter": "#"}}]},
    }
    return {
        "apiVersion": "rlvr.dev/v1alpha1",
        "kind": "RLVRJob",
        "metadata": {"name": "test"},
        "spec": {**spec, **sections},
    }


def a_job(**sections: Any) -> RLVRJob:
    return RLVRJob.model_validate_json(json.dumps(a_job_dict(**sections)))


def a_job_with_data(train: dict[str, Any], **sections: Any) -> RLVRJob:
    return a_job(data={"train": train}, **sections)


def a_prompt(position: int = 0, *, text: str = "1+1=", answer: str | None = "2") -> Prompt:
    return Prompt(position=position, text=text, token_ids=(4, 5, 6), task=Task(answer=answer, source="test"))


def a_completion(
    token_ids: Sequence[int] = (4, 1), *, step: int = 0, finish: Finish = Finish.STOP, text: str = "#2"
) -> Completion:
    return Completion(
        token_ids=np.array(token_ids, np.int32),
        logprobs=np.full(len(token_ids), -0.5, np.float32),
        spans=(Span(step=step, start=0, end=len(token_ids)),),
        finish=finish,
        text=text,
    )


def a_verdict(outcome: Outcome = Outcome.CORRECT) -> Verdict:
    return Verdict(outcome=outcome, score=SCORES.get(outcome))


def a_scored_group(
    position: int = 0, *, outcomes: Sequence[Outcome] = (Outcome.CORRECT, Outcome.WRONG), step: int = 0
) -> ScoredGroup:
    """One completion for each outcome."""
    completions = tuple(a_completion(step=step) for _ in outcomes)
    return ScoredGroup(
        group=Group(prompt=a_prompt(position), completions=completions),
        verdicts=tuple(a_verdict(outcome) for outcome in outcomes),
    )


def an_evaluation(
    step: int = 0,
    *,
    accuracy: float = 0.5,
    transcripts: Sequence[Transcript] = (),
    pass_at: Mapping[int, float] | None = None,
) -> Evaluation:
    return Evaluation(
        step=step,
        accuracy=accuracy,
        num_completions=8,
        num_errors=0,
        mean_tokens=5.0,
        transcripts=tuple(transcripts),
        pass_at=dict(pass_at or {}),
    )


def write_lines(path: Path, *rows: dict[str, Any] | str) -> Path:
    """A JSON lines file; a row that is text is written as it stands."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def copy_of_model(folder: Path, *, without: str = "", **files: str) -> Path:
    """The arithmetic model's small files in `folder`, one left out, some replaced (`config_json="{}"`)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        if name != without:
            (folder / name).write_bytes((ARITHMETIC / name).read_bytes())
    for name, text in files.items():
        stem, _, ending = name.rpartition("_")
        (folder / f"{stem}.{ending}").write_text(text)
    return folder

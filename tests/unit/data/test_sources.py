"""Every kind of source gives the same examples."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import write_lines
from rlvr_api import DataSource
from rlvr_trainer.data.sources import open_source, source_name
from rlvr_trainer.errors import InvalidInput

ROWS = [{"question": f"{n} + 1 =", "answer": str(n + 1), "level": n} for n in range(5)]


def a_source(**members: Any) -> DataSource:
    return DataSource.model_validate_json(json.dumps(members))


def answers(source: DataSource) -> list[str | None]:
    examples = open_source(source, at="spec.data.train")
    return [examples[index].answer for index in range(len(examples))]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def write_stream(path: Path, rows: list[dict[str, Any]]) -> None:
    found = table(rows)
    with pa.ipc.new_stream(path, found.schema) as writer:
        writer.write_table(found)


def test_json_lines_and_parquet_hold_the_same_examples(tmp_path: Path) -> None:
    lines = a_source(file={"path": str(write_lines(tmp_path / "d.jsonl", *ROWS))})
    pq.write_table(table(ROWS), tmp_path / "d.parquet")
    columns = a_source(file={"path": f"file://{tmp_path}/d.parquet"})

    assert answers(lines) == answers(columns) == ["1", "2", "3", "4", "5"]
    assert open_source(lines, at="")[2].metadata == open_source(columns, at="")[2].metadata == {"level": 2}


def test_a_byte_order_mark_and_blank_lines_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("\ufeff" + json.dumps(ROWS[0]) + "\n\n" + json.dumps(ROWS[1]))

    assert answers(a_source(file={"path": str(path)})) == ["1", "2"]


def test_fields_can_have_other_names_and_answers_a_marker(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", {"problem": "6 * 7?", "solution": "6 * 7 = 42\n#### 42", "answer": "no"})
    source = a_source(file={"path": str(path)}, promptField="problem", answerField="solution", answerAfter="####")

    example = open_source(source, at="")[0]

    assert (example.fields["question"], example.answer, example.metadata) == ("6 * 7?", "42", {"answer": "no"})


def test_a_limit_keeps_the_first_rows(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", *ROWS)

    assert answers(a_source(file={"path": str(path)}, limit=2)) == ["1", "2"]


def test_the_name_of_a_source_is_its_task_or_its_last_part() -> None:
    assert source_name(a_source(procedural={"task": "chain_sum", "size": 1})) == "chain_sum"
    assert source_name(a_source(directory={"path": "/data/gsm8k/main"})) == "main"


def test_a_folder_of_files_is_read_by_split(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(table(ROWS[:2]), tmp_path / "data" / "train-00000-of-00002.parquet")
    pq.write_table(table(ROWS[2:]), tmp_path / "data" / "train-00001-of-00002.parquet")
    pq.write_table(table(ROWS[:1]), tmp_path / "data" / "test-00000-of-00001.parquet")

    assert answers(a_source(directory={"path": str(tmp_path)})) == ["1", "2", "3", "4", "5"]
    assert answers(a_source(directory={"path": str(tmp_path), "split": "test"})) == ["1"]


def test_a_split_can_be_a_folder_of_json_lines(tmp_path: Path) -> None:
    (tmp_path / "validation").mkdir()
    write_lines(tmp_path / "validation" / "part.jsonl", *ROWS[:3])

    assert answers(a_source(directory={"path": str(tmp_path), "split": "validation"})) == ["1", "2", "3"]


def test_what_save_to_disk_leaves_is_read_shard_by_shard(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    shards = [{"filename": f"data-{n:05d}-of-00002.arrow"} for n in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": shards}))
    write_stream(folder / "data-00000-of-00002.arrow", ROWS[:3])
    write_stream(folder / "data-00001-of-00002.arrow", ROWS[3:])

    assert answers(a_source(directory={"path": str(tmp_path)})) == ["1", "2", "3", "4", "5"]
    assert answers(a_source(directory={"path": str(folder)})) == ["1", "2", "3", "4", "5"]


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')

    with pytest.raises(InvalidInput, match="has no split 'dev'; it has: train, test"):
        answers(a_source(directory={"path": str(tmp_path), "split": "dev"}))


def test_a_folder_without_the_split_lists_its_files(tmp_path: Path) -> None:
    write_lines(tmp_path / "test.jsonl", *ROWS)

    with pytest.raises(InvalidInput, match=r"belongs to split 'train'; it has: test\.jsonl"):
        answers(a_source(directory={"path": str(tmp_path)}))


def test_a_folder_without_data_says_what_it_looks_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"holds no data files \(\.parquet, \.jsonl"):
        answers(a_source(directory={"path": str(tmp_path)}))


def test_two_subsets_are_never_mixed(tmp_path: Path) -> None:
    for subset in ("main", "socratic"):
        (tmp_path / subset).mkdir()
        write_lines(tmp_path / subset / "train.jsonl", *ROWS)

    with pytest.raises(InvalidInput, match=r"in several subsets: main, socratic\. Point path to the one you want"):
        answers(a_source(directory={"path": str(tmp_path)}))
    assert len(answers(a_source(directory={"path": str(tmp_path / "main")}))) == 5


def test_a_saved_data_set_with_an_index_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"_data_files": [], "_indices_files": [{"filename": "indices.arrow"}]}')

    with pytest.raises(InvalidInput, match="flatten_indices"):
        answers(a_source(directory={"path": str(tmp_path)}))


def test_procedural_problems_are_those_of_reasoning_gym() -> None:
    source = a_source(procedural={"task": "chain_sum", "size": 3, "seed": 3})

    example = open_source(source, at="")[0]

    assert example.fields["expression"] == "57 + 87 + 70"
    assert example.answer == "214"
    assert example.metadata["source_index"] == 0


def test_metadata_of_a_generator_becomes_plain_json() -> None:
    example = open_source(a_source(procedural={"task": "chain_sum", "size": 3, "seed": 3}), at="")[0]

    assert json.loads(json.dumps(example.metadata))["difficulty"]["num_terms"] == [2, 6]

"""position -> Prompt: pure, complete in every epoch, the same for ever."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import ARITHMETIC, a_job, a_job_with_data, write_lines
from rlvr_api import RLVRJob
from rlvr_trainer.data.prompts import open_prompts, validate_data
from rlvr_trainer.data.shuffle import keyed_integer, shuffled
from rlvr_trainer.data.stream import PromptStream
from rlvr_trainer.data.tokens import open_tokens
from rlvr_trainer.errors import InvalidInput


def a_stream(path: Path, *, rows: int = 5, seed: int = 0, shuffle: bool = True) -> PromptStream:
    write_lines(path / "d.jsonl", *({"question": f"{n} =", "answer": str(n)} for n in range(rows)))
    data = {"file": {"path": str(path / "d.jsonl")}, "shuffle": shuffle}
    training = {"steps": 1, "seed": seed}
    return open_prompts(a_job_with_data(data, training=training), folder=ARITHMETIC).train


def answers(stream: PromptStream, positions: range) -> list[str | None]:
    return [stream.prompt(position).task.answer for position in positions]


@given(size=st.integers(1, 300), key=st.text(max_size=8))
def test_a_shuffle_is_a_permutation(size: int, key: str) -> None:
    assert sorted(shuffled(index, size=size, key=key) for index in range(size)) == list(range(size))


def test_a_shuffle_never_changes() -> None:
    assert [shuffled(index, size=8, key="0/0") for index in range(8)] == [1, 4, 3, 6, 2, 7, 0, 5]


def test_a_shuffle_of_a_billion_rows_costs_nothing() -> None:
    found = {shuffled(index, size=10**9, key="0/0") for index in range(1000)}

    assert len(found) == 1000
    assert max(found) > 9 * 10**8


def test_every_place_is_equally_likely() -> None:
    firsts = Counter(shuffled(0, size=10, key=str(key)) for key in range(2000))

    assert all(150 <= firsts[place] <= 250 for place in range(10))


def test_a_keyed_integer_is_the_same_on_every_machine() -> None:
    first_8_bytes = bytes.fromhex("cc8dd43b3dae3505")  # printf '0/train/7' | b2sum --length 64

    assert keyed_integer(0, "train", 7, bits=62) == int.from_bytes(first_8_bytes, "little") >> 2 == 93849430493832051


def test_an_unshuffled_stream_repeats_the_rows_in_order(tmp_path: Path) -> None:
    assert answers(a_stream(tmp_path, rows=3, shuffle=False), range(7)) == ["0", "1", "2", "0", "1", "2", "0"]


def test_every_epoch_has_every_row_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    stream = a_stream(tmp_path, rows=20)
    first, second = answers(stream, range(20)), answers(stream, range(20, 40))

    assert set(first) == set(second) == {str(n) for n in range(20)}
    assert first != second


def test_another_seed_is_another_order(tmp_path: Path) -> None:
    orders = {tuple(answers(a_stream(tmp_path, rows=20, seed=seed), range(20))) for seed in (0, 1, 0)}

    assert len(orders) == 2


def laser_d(*, prompts: int, seed: int = 0, rows: int = 64) -> RLVRJob:
    return a_job(
        data={"train": {"procedural": {"task": "chain_sum", "size": rows, "seed": 1}}},
        algorithm={"preset": "laserD", "lengthReward": {"laserD": {"lowestTokens": 8, "monitorPrompts": prompts}}},
        training={"steps": 1, "seed": seed},
    )


def monitor_questions(job: RLVRJob) -> list[str]:
    monitor = open_prompts(job, folder=ARITHMETIC).monitor
    assert monitor is not None
    return [monitor.prompt(place).text for place in range(len(monitor))]


def test_monitor_prompts_are_training_prompts_each_once_and_the_same_for_ever() -> None:
    drawn = monitor_questions(laser_d(prompts=16))
    training = open_prompts(laser_d(prompts=16), folder=ARITHMETIC).train

    assert len(drawn) == 16
    assert not Counter(drawn) - Counter(training.prompt(position).text for position in range(64))
    assert drawn == monitor_questions(laser_d(prompts=16))
    assert monitor_questions(laser_d(prompts=8)) == drawn[:8]
    assert monitor_questions(laser_d(prompts=16, seed=1)) != drawn
    assert drawn != [training.prompt(position).text for position in range(16)]


def test_all_of_the_data_can_be_monitored_and_no_more() -> None:
    assert len(set(monitor_questions(laser_d(prompts=8, rows=8)))) == 8

    with pytest.raises(
        InvalidInput, match=r"laserD\.monitorPrompts is 9, but spec\.data\.train has 8 questions.*8 or less"
    ):
        validate_data(laser_d(prompts=9, rows=8), folder=ARITHMETIC)
    with pytest.raises(InvalidInput, match=r"laserDE\.monitorPrompts is 500, but spec\.data\.train has 64 questions"):
        open_prompts(
            a_job(algorithm={"preset": "dapo", "lengthReward": {"laserDE": {"lowestTokens": 8}}}), folder=ARITHMETIC
        )


def test_without_a_length_reward_that_follows_them_there_are_no_monitor_prompts() -> None:
    assert open_prompts(a_job(), folder=ARITHMETIC).monitor is None


def test_a_prompt_carries_its_position_tokens_and_task(tmp_path: Path) -> None:
    prompt = a_stream(tmp_path, rows=3, shuffle=False).prompt(4)

    assert (prompt.position, prompt.text, prompt.task.answer, prompt.task.source) == (4, "1 =", "1", "d.jsonl")
    assert open_tokens(ARITHMETIC).decode(prompt.token_ids) == "1 ="


def test_a_long_generated_prompt_is_refused_when_its_turn_comes() -> None:
    procedural = {"task": "chain_sum", "size": 300, "params": {"min_terms": 90, "max_terms": 90}}
    job = a_job(data={"train": {"procedural": procedural}})

    with pytest.raises(InvalidInput, match="chain_sum item 0: the prompt has"):
        open_prompts(job, folder=ARITHMETIC)


def test_a_completion_is_decoded_without_the_token_that_ended_it() -> None:
    tokens = open_tokens(ARITHMETIC)
    ids = tokens.encode("#12", special_tokens=True)

    assert tokens.decode((*ids, *tokens.end_ids)) == tokens.decode(ids) == "#12"
    assert tokens.decode(()) == ""


def test_stop_tokens_of_the_job_end_completions_too() -> None:
    assert open_tokens(ARITHMETIC, more_end_ids=(7,)).end_ids == {1, 7}

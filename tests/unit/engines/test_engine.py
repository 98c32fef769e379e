from pathlib import Path

import numpy as np
import pytest

from asking import a_request, an_engine, answers, bits
from rlvr_trainer.engines.local.engine import Engine
from rlvr_trainer.engines.local.requests import Choice, Fork, VersionRange
from rlvr_trainer.errors import CorruptArtifact, InvalidInput
from tiny_models import write_model


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return an_engine(write_model(tmp_path_factory.mktemp("model")), max_concurrent=8)


def test_a_completion_ends_at_its_token_limit(engine: Engine) -> None:
    choice = answers(engine, [a_request(max_tokens=7)])["r"][0]

    assert (len(choice.token_ids), choice.finish_reason, choice.stop_reason) == (7, "length", None)
    assert choice.weight_versions == (VersionRange(version="default", start=0, end=7),)


def test_the_models_end_token_ends_it_without_a_stop_reason(engine: Engine) -> None:
    free = answers(engine, [a_request(max_tokens=12)])["r"][0].token_ids.tolist()

    choice = answers(engine, [a_request(max_tokens=12, end_token_ids=(free[5],))])["r"][0]

    assert choice.token_ids.tolist() == free[: free.index(free[5]) + 1]
    assert (choice.finish_reason, choice.stop_reason) == ("stop", None)


def test_a_stop_token_of_the_request_is_the_stop_reason(engine: Engine) -> None:
    free = answers(engine, [a_request(max_tokens=12)])["r"][0].token_ids.tolist()

    choice = answers(engine, [a_request(max_tokens=12, end_token_ids=(99,), stop_token_ids=(free[3], 98))])["r"][0]

    assert (choice.finish_reason, choice.stop_reason) == ("stop", free[3])


def test_more_sequences_than_slots_wait_their_turn(engine: Engine) -> None:
    for i in range(5):
        engine.submit(a_request(f"r{i}", num_completions=3, max_tokens=4 + i), lambda _: None)

    engine.step()

    assert (engine.num_running, engine.num_waiting) == (8, 7)
    while not engine.is_idle:
        engine.step()
        assert engine.num_running <= 8


def test_a_group_reads_its_prompt_once_even_when_it_joins_in_parts(engine: Engine) -> None:
    before = engine.num_prompt_tokens

    answers(engine, [a_request(token_ids=range(2, 32), num_completions=20, max_tokens=5)])

    # 20 completions on 8 slots join in three parts; parts two and three start when nobody of the one before is left.
    assert engine.num_prompt_tokens - before == 3 * 29


def test_a_part_that_joins_while_a_sibling_runs_takes_the_prompt_from_it(engine: Engine) -> None:
    long_prompt = a_request("group", token_ids=range(2, 32), num_completions=9, max_tokens=20)
    other = a_request("other", token_ids=[3], max_tokens=2)
    before = engine.num_prompt_tokens

    answers(engine, [other, long_prompt])

    assert engine.num_prompt_tokens - before == 29


def test_a_prompt_of_one_token_needs_no_reading(engine: Engine) -> None:
    before = engine.num_prompt_tokens

    choices = answers(engine, [a_request(token_ids=[4], num_completions=2)])["r"]

    assert engine.num_prompt_tokens == before
    assert [len(choice.token_ids) for choice in choices] == [16, 16]


def test_a_request_id_in_use_is_refused(engine: Engine) -> None:
    engine.submit(a_request("twice"), lambda _: None)

    with pytest.raises(InvalidInput, match="twice"):
        engine.submit(a_request("twice"), lambda _: None)

    assert engine.abort(["twice"]) == 1


def test_aborting_answers_with_what_there_is_and_frees_the_slots(engine: Engine) -> None:
    answer: list[Choice] = []
    engine.submit(a_request("doomed", num_completions=10, max_tokens=50), answer.extend)
    for _ in range(3):
        engine.step()

    assert engine.abort(["doomed", "unknown"]) == 1

    assert engine.is_idle
    assert [choice.index for choice in answer] == list(range(10))
    assert [len(choice.token_ids) for choice in answer] == [3] * 8 + [0] * 2
    assert {choice.finish_reason for choice in answer} == {"abort"}


def test_aborting_one_request_leaves_the_others_as_they_were(engine: Engine) -> None:
    mine = a_request("mine", num_completions=3, max_tokens=30)
    alone = answers(engine, [mine])["mine"]
    answer: list[Choice] = []
    engine.submit(a_request("doomed", num_completions=3, max_tokens=40, token_ids=[9, 9]), lambda _: None)
    engine.submit(mine, answer.extend)
    for _ in range(10):
        engine.step()

    engine.abort(["doomed"])
    while not engine.is_idle:
        engine.step()

    assert bits(answer) == bits(alone)


@pytest.mark.parametrize("recompute", [True, False])
def test_every_range_of_tokens_knows_its_version(tmp_path: Path, *, recompute: bool) -> None:
    engine = an_engine(write_model(tmp_path / "a"))
    old, new = a_request("old", max_tokens=20), a_request("new", max_tokens=20)
    answer: dict[str, list[Choice]] = {}
    engine.submit(old, lambda choices: answer.update(old=choices))
    for _ in range(6):
        engine.step()

    engine.load(write_model(tmp_path / "b", seed=1))
    engine.label("1-b")
    engine.label("1-bb")
    if recompute:
        engine.drop_cache()
    engine.submit(new, lambda choices: answer.update(new=choices))
    while not engine.is_idle:
        engine.step()

    first, second = answer["old"][0], answer["new"][0]
    assert [(v.version, v.start, v.end) for v in first.weight_versions] == [("default", 0, 6), ("1-bb", 6, 20)]
    assert [(v.version, v.start, v.end) for v in second.weight_versions] == [("1-bb", 0, 20)]


def test_after_an_update_a_recomputed_sequence_goes_on_as_if_the_new_policy_had_read_all_of_it(tmp_path: Path) -> None:
    folders = [write_model(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    engine = an_engine(folders[0])
    answer: list[Choice] = []
    engine.submit(a_request(token_ids=[5, 6, 7], max_tokens=20), answer.extend)
    for _ in range(6):
        engine.step()
    engine.load(folders[1])
    engine.drop_cache()
    while not engine.is_idle:
        engine.step()
    sampled = answer[0].token_ids.tolist()

    request = a_request(token_ids=[5, 6, 7, *sampled[:6]], num_completions=200, max_tokens=1)
    first_tokens = {int(c.token_ids[0]): c.logprobs[0] for c in answers(an_engine(folders[1]), [request])["r"]}
    assert first_tokens[sampled[6]] == answer[0].logprobs[6]


def test_after_an_update_without_recomputing_no_newcomer_gets_old_keys(tmp_path: Path) -> None:
    folders = [write_model(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    engine = an_engine(folders[0], max_concurrent=2)
    group = a_request("group", token_ids=range(3, 20), num_completions=4, max_tokens=10)
    answer: list[Choice] = []
    engine.submit(group, answer.extend)
    for _ in range(4):
        engine.step()
    engine.load(folders[1])
    while not engine.is_idle:
        engine.step()

    later = answers(an_engine(folders[1]), [group])["group"][2:]
    assert bits(answer[2:]) == bits(later)


def test_weights_that_cannot_be_loaded_leave_the_old_ones(tmp_path: Path) -> None:
    engine = an_engine(write_model(tmp_path / "a"))
    before = answers(engine, [a_request()])["r"]

    with pytest.raises(CorruptArtifact):
        engine.load(tmp_path)

    assert bits(answers(engine, [a_request()])["r"]) == bits(before)


def test_a_context_longer_than_the_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="1000"):
        an_engine(write_model(tmp_path), max_context=1000)


def test_greedy_completions_are_all_alike(engine: Engine) -> None:
    choices = answers(engine, [a_request(num_completions=3, temperature=0.0)])["r"]

    assert np.array_equal(choices[0].token_ids, choices[1].token_ids)
    assert bits(choices[:1]) == bits(choices[2:])


def test_equal_temperatures_at_and_off_forks_are_one_temperature(engine: Engine) -> None:
    plain = answers(engine, [a_request(temperature=0.7, num_completions=4)])["r"]

    forked = answers(engine, [a_request(temperature=0.7, num_completions=4, fork=Fork(threshold=1.0, temperature=0.7))])

    assert bits(forked["r"]) == bits(plain)


def test_a_fork_is_decided_token_by_token(engine: Engine) -> None:
    # Never above the threshold: greedy throughout.  Always above: the fork's temperature throughout.
    greedy = answers(engine, [a_request(temperature=0.0)])["r"]
    sampled = answers(engine, [a_request(temperature=1.5)])["r"]

    never = answers(engine, [a_request(temperature=0.0, fork=Fork(threshold=99.0, temperature=1.5))])["r"]
    always = answers(engine, [a_request(temperature=0.0, fork=Fork(threshold=0.0, temperature=1.5))])["r"]

    assert (bits(never), bits(always)) == (bits(greedy), bits(sampled))
    assert bits(greedy) != bits(sampled)

"""What a completion becomes depends on its request and its weights; tests/integration proves it with random company."""

import pytest

from asking import a_request, an_engine, answers, bits
from rlvr_trainer.engines.local.engine import Engine
from rlvr_trainer.engines.local.requests import Choice, Fork
from tiny_models import write_model


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return an_engine(write_model(tmp_path_factory.mktemp("model")))


def test_filters_and_temperatures_of_neighbours_change_no_bit(engine: Engine) -> None:
    mine = a_request("mine", num_completions=4, seed=9)
    others = [
        a_request("greedy", temperature=0.0, num_completions=3),
        a_request("narrow", top_p=0.5, num_completions=3),
        a_request("few", top_k=2, temperature=0.3),
    ]

    assert bits(answers(engine, [*others, mine])["mine"]) == bits(answers(engine, [mine])["mine"])


def test_forks_of_neighbours_change_no_bit_and_neither_do_neighbours_of_a_fork(engine: Engine) -> None:
    mine = a_request("mine", num_completions=4, seed=9)
    forked = a_request("forked", num_completions=3, temperature=0.4, fork=Fork(threshold=3.0, temperature=1.3))
    short = a_request("short", num_completions=3, max_tokens=2)  # its rows are taken over by the others
    together = answers(engine, [short, mine, forked])

    assert bits(together["mine"]) == bits(answers(engine, [mine])["mine"])
    assert bits(together["forked"]) == bits(answers(engine, [forked])["forked"])


def test_each_completion_of_a_group_is_the_one_its_own_seed_would_give(engine: Engine) -> None:
    group = answers(engine, [a_request("group", num_completions=5, seed=100)])["group"]

    single = [answers(engine, [a_request("one", seed=100 + i)])["one"][0] for i in range(5)]

    assert bits(group) == bits(single)


def test_keys_and_values_computed_anew_change_no_bit(engine: Engine) -> None:
    request = a_request("r", num_completions=3, max_tokens=30)
    undisturbed = answers(engine, [request])["r"]
    disturbed: list[Choice] = []
    engine.submit(request, disturbed.extend)

    while not engine.is_idle:
        engine.drop_cache()
        engine.step()

    assert bits(disturbed) == bits(undisturbed)

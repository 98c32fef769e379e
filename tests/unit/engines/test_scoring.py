"""What the engine says of tokens that it did not sample: the answer to a probe."""

from pathlib import Path

import numpy as np
import pytest

from asking import a_request, an_engine, answers
from reference import load_reference, reference_logprobs
from tiny_models import write_model


def some_tokens(number: int) -> tuple[int, ...]:
    return tuple(3 + (7 * place) % 31 for place in range(number))


@pytest.mark.parametrize("number", [2, 3, 32, 33, 34, 65, 200])
def test_every_token_but_the_first_is_scored_as_transformers_scores_it(number: int, tmp_path: Path) -> None:
    folder, tokens = write_model(tmp_path), some_tokens(number)

    found = an_engine(folder).score(tokens)

    expected = reference_logprobs(load_reference(folder), tokens[:1], tokens[1:])
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_of_a_single_token_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert an_engine(write_model(tmp_path)).score((5,)).shape == (0,)


def test_its_own_completions_are_scored_as_they_were_sampled(tmp_path: Path) -> None:
    engine = an_engine(write_model(tmp_path))
    (choices,) = answers(engine, [a_request(token_ids=some_tokens(9), num_completions=4, max_tokens=60)]).values()

    for choice in choices:
        found = engine.score((*some_tokens(9), *choice.token_ids.tolist()))
        np.testing.assert_allclose(found[8:], choice.logprobs, atol=1e-6, rtol=0)


def test_scoring_disturbs_no_completion_under_way(tmp_path: Path) -> None:
    folder, asked = write_model(tmp_path), a_request(num_completions=2, max_tokens=30)
    alone = answers(an_engine(folder), [asked])["r"]
    engine, finished = an_engine(folder), []
    engine.submit(asked, finished.extend)

    while not engine.is_idle:
        engine.step()
        engine.score(some_tokens(40))

    assert [choice.token_ids.tolist() for choice in finished] == [choice.token_ids.tolist() for choice in alone]


def test_new_weights_score_otherwise(tmp_path: Path) -> None:
    engine = an_engine(write_model(tmp_path / "a", seed=0))
    before = engine.score(some_tokens(32))

    engine.load(write_model(tmp_path / "b", seed=1))

    assert np.abs(engine.score(some_tokens(32)) - before).mean() > 0.1

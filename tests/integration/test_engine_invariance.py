"""What a completion becomes depends on its request and its weights, not on company, timing or pauses."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asking import a_request, an_engine, answers, bits
from rlvr_trainer.engines.local.engine import Engine
from rlvr_trainer.engines.local.requests import Choice, Request
from rlvr_trainer.models import builtin_path
from tiny_models import VOCABULARY, write_model

SHAPES = {
    "qwen2": {},
    "qwen3": {"model_type": "qwen3", "head_dim": 32},
    "llama": {"model_type": "llama", "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 32},
    "wide": {"num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64, "hidden_size": 192},
}
prompts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=40)


@dataclass(frozen=True)
class Visit:
    """A neighbour that arrives before step `at`."""

    at: int
    prompt: list[int]
    completions: int
    max_tokens: int


visits = st.builds(
    Visit, at=st.integers(0, 20), prompt=prompts, completions=st.integers(1, 9), max_tokens=st.integers(1, 60)
)


@pytest.fixture(scope="module", params=SHAPES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return an_engine(write_model(tmp_path_factory.mktemp(request.param), **SHAPES[request.param]), max_concurrent=24)


def in_company(
    engine: Engine, request: Request, *, at: int, visits: list[Visit], recomputed_at: set[int]
) -> list[Choice]:
    """The answer to `request`, submitted before step `at` among `visits`."""
    answer: list[Choice] = []
    step = 0
    while not answer or not engine.is_idle:
        for number, visit in enumerate(visits):
            if visit.at == step:
                neighbour = a_request(
                    f"n{number}",
                    visit.prompt,
                    num_completions=visit.completions,
                    max_tokens=visit.max_tokens,
                    seed=number,
                )
                engine.submit(neighbour, lambda _: None)
        if step == at:
            engine.submit(request, answer.extend)
        if step in recomputed_at:
            engine.drop_cache()
        engine.step()
        step += 1
    return answer


@settings(max_examples=25, deadline=None)
@given(
    prompt=prompts,
    at=st.integers(0, 20),
    seed=st.integers(0, 2**63),
    company=st.lists(visits, max_size=8),
    recomputed_at=st.sets(st.integers(0, 40), max_size=3),
)
def test_neighbours_arrival_and_pauses_change_no_bit(
    engine: Engine, prompt: list[int], at: int, seed: int, company: list[Visit], recomputed_at: set[int]
) -> None:
    request = a_request("mine", prompt, num_completions=3, max_tokens=40, seed=seed, end_token_ids=(1,))
    alone = answers(engine, [request])["mine"]

    accompanied = in_company(engine, request, at=at, visits=company, recomputed_at=recomputed_at)

    assert bits(accompanied) == bits(alone)


def test_a_context_beyond_one_key_block_changes_no_bit_either(engine: Engine) -> None:
    request = a_request("mine", [7] * 180, num_completions=2, max_tokens=120, seed=3)
    alone = answers(engine, [request])["mine"]
    company = [Visit(at=30, prompt=[3] * 290, completions=1, max_tokens=200)]

    accompanied = in_company(engine, request, at=5, visits=company, recomputed_at={60})

    assert bits(accompanied) == bits(alone)


def test_the_shipped_model_answers_alike_alone_and_in_a_full_house() -> None:
    engine = an_engine(builtin_path("arithmetic"), max_concurrent=256)
    requests = [
        a_request(f"r{i}", [3 + (i * k) % 17 for k in range(1, 20)], num_completions=4, seed=i, end_token_ids=(1,))
        for i in range(80)
    ]
    together = answers(engine, requests)

    alone = {request.request_id: answers(engine, [request])[request.request_id] for request in requests}

    assert {key: bits(value) for key, value in together.items()} == {key: bits(value) for key, value in alone.items()}

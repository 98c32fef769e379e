"""The shipped base model: it loads, its parts agree, and it answers in the promised form."""

import json
import subprocess
import sys

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, Qwen2ForCausalLM

from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.models import builtin_path
from rlvr_trainer.models.arithmetic_task import (
    LONGEST_COMPLETION,
    Problem,
    character_tokenizer,
    final_answer,
    partial_sums,
    problems,
)
from rlvr_trainer.models.make_arithmetic import complete, measure

FOLDER = builtin_path("arithmetic")
ALPHABET = " 0123456789+-=;#.,"


@pytest.fixture(scope="module")
def model() -> Qwen2ForCausalLM:
    return Qwen2ForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def settings(name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((FOLDER / name).read_text())
    return content


def test_an_unknown_model_is_refused_by_the_names_that_exist() -> None:
    with pytest.raises(InvalidInput, match=r"'gpt'.*arithmetic"):
        builtin_path("gpt")


def test_finding_a_shipped_model_needs_no_heavy_library() -> None:
    program = "import sys, rlvr_trainer.models; assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_weights_are_small_enough_to_ship() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 1_500_000


@pytest.mark.parametrize("text", ["4 - 8 - 6 + 4 - 8 =", "#-14", "4-8=-4;-4-6=-10#-10", "1,000.5", ALPHABET])
def test_text_of_the_alphabet_survives_the_tokenizer(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids

    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text


def test_a_character_outside_the_alphabet_becomes_unk(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("1\nx").tokens == ["1", "<unk>", "<unk>"]


def test_the_shipped_tokenizer_is_the_one_the_script_makes(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab() == character_tokenizer().get_vocab()


def test_transformers_reads_the_same_tokenizer(tokenizer: Tokenizer) -> None:
    theirs = AutoTokenizer.from_pretrained(FOLDER)
    text = "4 - 8 - 6 + 4 - 8 =#-14"

    assert theirs(text)["input_ids"] == tokenizer.encode(text).ids
    assert theirs.decode(theirs(text)["input_ids"]) == text
    assert theirs.padding_side == "left"


def test_every_file_names_the_same_end_of_sequence(tokenizer: Tokenizer) -> None:
    end = tokenizer.token_to_id("<eos>")

    assert settings("config.json")["eos_token_id"] == end
    assert settings("generation_config.json")["eos_token_id"] == end
    assert settings("tokenizer_config.json")["eos_token"] == "<eos>"


def test_every_token_has_a_row_of_the_embedding(model: Qwen2ForCausalLM, tokenizer: Tokenizer) -> None:
    assert model.config.vocab_size == tokenizer.get_vocab_size() == 3 + len(ALPHABET)


def test_vllm_supports_the_shape(model: Qwen2ForCausalLM) -> None:
    assert model.config.hidden_size // model.config.num_attention_heads == 32
    assert not model.config.tie_word_embeddings


def test_steps_are_the_running_sums() -> None:
    assert partial_sums("4 - 8 - 6 + 4 - 8") == ["4-8=-4", "-4-6=-10", "-10+4=-6", "-6-8=-14"]


def test_a_problem_tells_its_prompt_and_both_answers() -> None:
    problem = Problem("3 - 0 + 9", "12")

    assert problem.prompt == "3 - 0 + 9 ="
    assert problem.direct() == "#12"
    assert problem.steps() == "3-0=3;3+9=12#12"


def test_both_styles_end_in_the_answer_reasoning_gym_gives() -> None:
    for problem in problems(size=50, seed=7):
        assert final_answer(problem.direct()) == final_answer(problem.steps()) == problem.answer
        assert len(problem.steps()) < LONGEST_COMPLETION <= 45


@pytest.mark.parametrize(("completion", "answer"), [("1+1=2#2", "2"), ("#1#-3", "-3"), ("12", None), ("#", "")])
def test_the_answer_is_what_follows_the_last_mark(completion: str, answer: str | None) -> None:
    assert final_answer(completion) == answer


def test_greedy_answers_parse_as_integers(model: Qwen2ForCausalLM, tokenizer: Tokenizer) -> None:
    prompts = [problem.prompt for problem in problems(size=8, seed=123)]
    answers = [final_answer(text) for text in complete(model, tokenizer, prompts, temperature=0.0)]

    assert all(answer is not None and answer.lstrip("-").isdigit() for answer in answers)


def test_the_base_leaves_learning_one_thing_to_find_out(model: Qwen2ForCausalLM, tokenizer: Tokenizer) -> None:
    measured = measure(model, tokenizer, list(problems(size=128, seed=5)))

    assert 0.3 <= measured.sampled <= 0.6
    assert 0.05 <= measured.steps_share <= 0.3
    assert (measured.steps.accuracy or 0) >= 0.85


def test_the_card_gives_the_recipe_and_the_numbers() -> None:
    card = (FOLDER / "README.md").read_text()

    assert "license: apache-2.0" in card
    assert "rlvr_trainer.models.make_arithmetic" in card
    assert "unknown" not in card

"""Low-rank adapters: what they leave alone, what is published of them, and what they share with the reference."""

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from learning import VOCABULARY, a_learner_job, a_model_folder, a_recipe, random_facts, train
from rlvr_api import RLVRJobSpec
from rlvr_trainer.errors import CorruptArtifact, InvalidInput
from rlvr_trainer.learner.backends.local import LocalBackend, open_backend, open_scorer
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.microbatches import MicroBatch, cut
from rlvr_trainer.learner.models import load_policy, open_policy
from rlvr_trainer.learner.opening import open_method
from rlvr_trainer.learner.publish import Publisher
from rlvr_trainer.learner.step import Method
from rlvr_trainer.storage.policies import verify_policy

RANK, ALPHA = 4, 6.0
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def a_spec(folder: Path, *, preset: str = "dapo", training: dict[str, Any] | None = None, **lora: Any) -> RLVRJobSpec:
    """A job whose adapters have rank 4 and alpha 6 unless `lora` says otherwise."""
    sizes = {"steps": 6, "promptsPerStep": 4, "groupSize": 4, "tokenBudget": 64}
    chosen = {"rank": RANK, "alpha": ALPHA, **lora}
    job = a_learner_job(
        folder, "file:///nowhere", algorithm={"preset": preset}, training=sizes | {"lora": chosen} | (training or {})
    )
    return job.spec


def trained(folder: Path, *steps: int, **lora: Any) -> LocalBackend:
    backend = open_backend(folder, a_spec(folder, **lora))
    train(backend, *steps)
    return backend


def rows(step: int = 1) -> MicroBatch:
    return cut(build_batch(random_facts(step), a_recipe()), (0, 1, 2))


def base_of(folder: Path) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in load_policy(folder, temperature=1.0).model.named_parameters()}


def published(backend: LocalBackend, folder: Path, place: Path) -> Path:
    publisher = Publisher(folder, folder=place / "policies", announcement=place / "policy.json", keep=1)
    return place / "policies" / publisher.publish(1, backend.weights(), adapter=backend.adapter())


def test_training_begins_with_the_base_model(model_folder: Path) -> None:
    backend, base = open_backend(model_folder, a_spec(model_folder)), base_of(model_folder)
    weights = backend.weights()

    assert list(weights) == list(base) and all(torch.equal(weights[name], base[name]) for name in base)
    with torch.no_grad():
        ours, theirs = (one.statistics(rows()) for one in (backend, open_scorer(model_folder, a_spec(model_folder))))
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


def test_only_adapters_have_gradients_and_move(model_folder: Path) -> None:
    backend, base = open_backend(model_folder, a_spec(model_folder)), base_of(model_folder)
    logprob_N, _ = backend.statistics(rows())
    backend.backward(logprob_N.sum())
    policy = backend._policy
    names = {name for name, p in policy.model.named_parameters() if p.grad is not None}
    backend.update(learning_rate=0.01)
    train(backend, 1, 2)

    assert {name.rpartition(".lora_")[2] for name in names} == {"A.default.weight", "B.default.weight"}
    assert len(names) == 2 * 2 * len(LAYERS) == len(policy.trained())
    assert all(p.abs().sum() > 0 for p in policy.trained().values())
    assert all(torch.equal(one.own, base[one.name]) for one in policy.published())


def test_the_published_policy_is_the_base_plus_what_the_adapters_add(tmp_path: Path, model_folder: Path) -> None:
    backend, base = trained(model_folder, 1, 2), base_of(model_folder)
    folder = published(backend, model_folder, tmp_path)
    weights, matrices = load_file(folder / "model.safetensors"), load_file(folder / "adapter/adapter_model.safetensors")
    changed = []
    for name, weight in weights.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{stem}.lora_A.weight" in matrices:
            down, up = (matrices[f"{stem}.lora_{letter}.weight"].double() for letter in "AB")
            expected = base[name].double() + ALPHA / RANK * up @ down
            assert down.shape[0] == up.shape[1] == RANK
            assert torch.allclose(weight.double(), expected, rtol=1e-6, atol=1e-6)
            assert (weight - base[name]).abs().max() > 1e-3
            changed.append(name)
        else:
            assert torch.equal(weight, base[name])

    assert weights.keys() == base.keys() and len(changed) == 2 * len(LAYERS) == len(matrices) / 2
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


@pytest.mark.parametrize("tied", [False, True])
def test_rollouts_sample_from_what_the_learner_computes(tmp_path: Path, *, tied: bool) -> None:
    base = a_model_folder(tmp_path / "base", tied=tied)
    backend = trained(base, 1, 2)
    folder = published(backend, base, tmp_path)
    with torch.no_grad():
        learner, rollout = (one.statistics(rows())[0] for one in (backend, open_scorer(folder, a_spec(folder))))
        start = open_scorer(base, a_spec(base)).statistics(rows())[0]

    assert torch.allclose(learner, rollout, atol=1e-5) and not torch.allclose(learner, start, atol=1e-2)


def test_peft_loads_the_adapter_on_the_base_model(tmp_path: Path, model_folder: Path) -> None:
    backend = trained(model_folder, 1, 2)
    folder = published(backend, model_folder, tmp_path)
    tokens = torch.arange(40).view(2, 20) % VOCABULARY
    with torch.no_grad():
        loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model_folder), folder / "adapter")
        adapted = loaded(tokens).logits
        merged = AutoModelForCausalLM.from_pretrained(folder)(tokens).logits
        ours = backend._policy.model(tokens).logits

    assert torch.allclose(adapted, ours, atol=1e-4) and torch.allclose(merged, ours, atol=1e-4)


def test_the_adapter_is_sealed_with_the_policy(tmp_path: Path, model_folder: Path) -> None:
    folder = published(trained(model_folder, 1), model_folder, tmp_path)
    verify_policy(folder)
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= json.loads(
        (folder / "manifest.json").read_bytes()
    )["files"].keys()
    (folder / "adapter/adapter_config.json").write_text("{}")

    with pytest.raises(CorruptArtifact, match=r"adapter_config\.json"):
        verify_policy(folder)


def test_the_adapters_configuration_says_what_it_is_and_of_which_model(tmp_path: Path, model_folder: Path) -> None:
    folder = published(trained(model_folder, 1, targetModules=["v_proj", "q_proj"]), model_folder, tmp_path)
    config = json.loads((folder / "adapter/adapter_config.json").read_bytes())

    assert (config["peft_type"], config["task_type"], config["r"], config["lora_alpha"]) == ("LORA", "CAUSAL_LM", 4, 6)
    assert config["target_modules"] == sorted(
        f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
    )
    assert config["base_model_name_or_path"] == str(model_folder)


def test_the_same_training_gives_the_same_policy(tmp_path: Path, model_folder: Path) -> None:
    labels = {published(trained(model_folder, 1), model_folder, tmp_path / name).name for name in ("one", "two")}

    assert len(labels) == 1


def test_a_job_without_adapters_publishes_none(tmp_path: Path, model_folder: Path) -> None:
    job = a_learner_job(model_folder, "file:///nowhere")

    assert not (published(open_backend(model_folder, job.spec), model_folder, tmp_path) / "adapter").exists()


def test_the_reference_is_the_base_model_to_the_bit(model_folder: Path) -> None:
    spec = a_spec(model_folder, preset="grpo")
    method = open_method(spec)
    train(method.backend, 1, 2)
    assert method.reference is not None
    with torch.no_grad():
        reference = method.reference.statistics(rows())
        base = open_scorer(model_folder, spec).statistics(rows())
        policy = method.backend.statistics(rows())

    assert torch.equal(reference[0], base[0]) and torch.equal(reference[1], base[1])
    assert not torch.allclose(policy[0], reference[0], atol=1e-2), "its adapters are on again"


def test_after_the_reference_was_asked_training_goes_on_as_if_it_had_not_been(model_folder: Path) -> None:
    spec = a_spec(model_folder, preset="grpo")
    asked, unasked = open_method(spec), open_method(spec)
    assert asked.reference is not None
    for step in (1, 2):
        with torch.no_grad():
            asked.reference.statistics(rows())
        for method in (asked, unasked):
            train(method.backend, step)

    one, other = (method.backend.weights() for method in (asked, unasked))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_policy_and_reference_are_one_copy_of_the_base_model_in_memory(model_folder: Path) -> None:
    """Counted among all that is alive; with every weight trained there are two."""
    base = sum(weight.nbytes for weight in base_of(model_folder).values())
    full = {"lora": None}
    whole, whole_bytes = held_by(a_spec(model_folder, preset="grpo", training=full))
    shared, shared_bytes = held_by(a_spec(model_folder, preset="grpo"))
    adapters = sum(p.nbytes for p in shared.backend._policy.trained().values())  # type: ignore[attr-defined]

    assert whole.reference is not None and whole_bytes == 2 * base
    assert shared.reference is not None and shared_bytes == base + adapters < 1.4 * base


def held_by(spec: RLVRJobSpec) -> tuple[Method, int]:
    """A method, and the bytes of the parameters that opening it left alive."""
    before = {id(one) for one in gc.get_objects() if type(one) is torch.nn.Parameter}
    method = open_method(spec)
    gc.collect()
    made = [one for one in gc.get_objects() if type(one) is torch.nn.Parameter and id(one) not in before]
    return method, sum(one.nbytes for one in made)


@pytest.mark.parametrize("rank", [2, 4, 16])
@pytest.mark.parametrize("num_rows", [1, 2, 40])
def test_neighbours_and_the_width_of_a_pass_change_no_bit(model_folder: Path, num_rows: int, rank: int) -> None:
    backend = trained(model_folder, 1, 2, rank=rank)
    row = torch.arange(7) * 5 % VOCABULARY
    wide = torch.arange(num_rows * 61).view(num_rows, 61) * 7 % VOCABULARY
    wide[-1, :7] = row
    policy, places = backend._policy, torch.arange(2, 6)
    with torch.no_grad():
        alone, _ = policy(row[None], torch.tensor([7]), places, row[3:])
        lengths = torch.tensor([61] * (num_rows - 1) + [7])
        together, _ = policy(wide, lengths, (num_rows - 1) * 61 + places, row[3:])

    assert torch.equal(alone, together)


@pytest.mark.parametrize("rank", [2, 4])
def test_packed_rows_have_the_numbers_of_padded_ones(model_folder: Path, rank: int) -> None:
    padded = trained(model_folder, 1, 2, rank=rank)
    packed = open_backend(model_folder, a_spec(model_folder, rank=rank, training={"packing": True}))
    for ours, theirs in zip(padded._policy.trained().values(), packed._policy.trained().values(), strict=True):
        theirs.data.copy_(ours)
    with torch.no_grad():
        one, other = (backend.statistics(rows()) for backend in (padded, packed))

    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_recomputed_activations_give_the_same_gradients(model_folder: Path) -> None:
    gradients = []
    for recomputes in (False, True):
        training = {"activationCheckpointing": recomputes}
        backend = open_backend(model_folder, a_spec(model_folder, training=training))
        train(backend, 1)
        logprob_N, _ = backend.statistics(rows(2))
        backend.backward(logprob_N.sum())
        gradients.append([p.grad for p in backend._policy.trained().values()])

    assert all(torch.equal(kept, again) for kept, again in zip(*gradients, strict=True))


def test_a_checkpoint_holds_the_adapters_alone_and_continues_bit_for_bit(model_folder: Path, tmp_path: Path) -> None:
    straight = trained(model_folder, 1)
    straight.save(tmp_path)
    resumed = open_backend(model_folder, a_spec(model_folder))
    resumed.load(tmp_path)
    for backend in (straight, resumed):
        train(backend, 2)

    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() == straight._policy.trained().keys() and all(".lora_" in name for name in stored)
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert straight.num_bytes <= written <= straight.num_bytes + 60_000
    assert all(torch.equal(weight, resumed.weights()[name]) for name, weight in straight.weights().items())


def test_adapters_of_other_weights_are_refused(model_folder: Path, tmp_path: Path) -> None:
    trained(a_model_folder(tmp_path / "other", seed=1), 1).save(tmp_path)

    with pytest.raises(InvalidInput, match=r"trained beside other weights .* than those of spec.model"):
        open_backend(model_folder, a_spec(model_folder)).load(tmp_path)


@pytest.mark.parametrize("other", [{"rank": 2}, {"targetModules": ["q_proj"]}])
def test_adapters_of_another_shape_are_refused(model_folder: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    trained(model_folder, 1).save(tmp_path)

    with pytest.raises(CorruptArtifact, match=r"does not fit the base model: .*lora_.*and training.lora what it had"):
        open_backend(model_folder, a_spec(model_folder, **other)).load(tmp_path)


def test_a_checkpoint_of_every_weight_is_not_one_of_adapters(model_folder: Path, tmp_path: Path) -> None:
    open_backend(model_folder, a_spec(model_folder, training={"lora": None})).save(tmp_path)

    with pytest.raises(CorruptArtifact, match=r"and training\.lora what it had"):
        open_backend(model_folder, a_spec(model_folder)).load(tmp_path)


def test_named_layers_alone_get_adapters(model_folder: Path) -> None:
    policy = open_policy(model_folder, a_spec(model_folder, targetModules=["q_proj", "self_attn.v_proj"]))

    assert {name.split(".lora_")[0] for name in policy.trained()} == {
        f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
    }


@pytest.mark.parametrize("name", ["c_attn", "lm_head", "proj", "embed_tokens"])
def test_a_layer_that_the_model_lacks_is_named_with_those_it_has(model_folder: Path, name: str) -> None:
    have = ", ".join(sorted(LAYERS))
    with pytest.raises(InvalidInput, match=rf"targetModules names {name}, and Qwen2ForCausalLM .*Choose from {have}"):
        open_policy(model_folder, a_spec(model_folder, targetModules=["q_proj", name]))


def test_a_model_without_linear_layers_takes_no_adapters(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(InvalidInput, match=r"GPT2LMHeadModel has no linear layer.*Drop training.lora"):
        open_policy(tmp_path, a_spec(tmp_path))


def test_the_first_values_follow_from_the_seed_alone(model_folder: Path) -> None:
    def first(seed: int) -> list[Tensor]:
        policy = open_policy(model_folder, a_spec(model_folder, training={"seed": seed}))
        return [p.detach() for p in policy.trained().values()]

    torch.manual_seed(1)
    before = first(0)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = first(0), first(1)

    assert all(map(torch.equal, before, again)) and not all(map(torch.equal, before, other))
    assert torch.equal(torch.get_rng_state(), state), "nothing else that is random depends on them"


def in_bfloat16(spec: RLVRJobSpec) -> RLVRJobSpec:
    return spec.model_copy(update={"model": spec.model.model_copy(update={"dtype": "bfloat16"})})


def test_bfloat16_publishes_sums_that_were_rounded_once(model_folder: Path) -> None:
    half = open_backend(model_folder, in_bfloat16(a_spec(model_folder)))
    train(half, 1, 2)

    assert {weight.dtype for weight in half.weights().values()} == {torch.bfloat16}
    assert {matrix.dtype for matrix in half._policy.trained().values()} == {torch.float32}
    for one in half._policy.published():
        whole = one.own.double() if one.added is None else one.own.double() + one.added.delta_OI().double()
        assert torch.allclose(half.weights()[one.name].double(), whole, rtol=2**-8, atol=1e-6)


def test_frozen_weights_in_bfloat16_take_half_the_memory_and_change_no_bit(model_folder: Path) -> None:
    spec = in_bfloat16(a_spec(model_folder))
    half, whole = open_backend(model_folder, spec), open_backend(model_folder, a_spec(model_folder))
    whole._dtype = torch.bfloat16  # float32 weights, rounded at every use
    for backend in (half, whole):
        train(backend, 1)
    with torch.no_grad():
        found, expected = (backend.statistics(rows()) for backend in (half, whole))

    beside = {one.name for one in half._policy.published() if one.added is not None}
    assert {one.own.dtype for one in half._policy.published() if one.name in beside} == {torch.bfloat16}
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    base = half.base()
    assert base is not None
    with torch.no_grad():
        reference, alone = base.statistics(rows()), open_scorer(model_folder, spec).statistics(rows())
    assert torch.equal(reference[0], alone[0]) and torch.equal(reference[1], alone[1])

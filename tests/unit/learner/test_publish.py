import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from learning import a_model_folder
from rlvr_trainer.engines.local.architecture import read_architecture
from rlvr_trainer.engines.local.weights import load_weights
from rlvr_trainer.learner.models import load_policy
from rlvr_trainer.learner.publish import LARGEST_FILE, Publisher, split_by_size, with_dtype
from rlvr_trainer.storage.policies import newest_policies, verify_policy


def a_publisher(base: Path, tmp_path: Path, *, keep: int = 2) -> Publisher:
    return Publisher(base, folder=tmp_path / "policies", announcement=tmp_path / "a000" / "policy.json", keep=keep)


def weights_of(base: Path) -> dict[str, torch.Tensor]:
    return {n: p.detach() for n, p in load_policy(base, temperature=1.0).model.named_parameters()}


@pytest.mark.parametrize("tied", [False, True])
def test_a_policy_is_a_whole_model_directory(tmp_path: Path, tied: bool) -> None:  # noqa: FBT001
    base = a_model_folder(tmp_path / "base", tied=tied)
    weights = {name: weight + 1 for name, weight in weights_of(base).items()}

    label = a_publisher(base, tmp_path).publish(7, weights)

    folder = tmp_path / "policies" / label
    verify_policy(folder)
    assert {path.name for path in folder.iterdir()} >= {"config.json", "tokenizer.json", "generation_config.json"}
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert all(torch.equal(p, weights[name]) for name, p in loaded.named_parameters())


def test_the_newest_policy_is_announced_after_it_is_ready(model_folder: Path, tmp_path: Path) -> None:
    label = a_publisher(model_folder, tmp_path).publish(3, weights_of(model_folder))

    assert json.loads((tmp_path / "a000" / "policy.json").read_text()) == {"step": 3, "label": label}
    assert label.startswith("3-") and (tmp_path / "policies" / label / "READY").exists()


def test_the_same_weights_get_the_same_label_in_another_attempt(model_folder: Path, tmp_path: Path) -> None:
    weights = weights_of(model_folder)
    labels = [a_publisher(model_folder, tmp_path).publish(3, weights) for _ in range(2)]

    assert labels[0] == labels[1]


def test_old_policies_make_room_for_new_ones(model_folder: Path, tmp_path: Path) -> None:
    publisher = a_publisher(model_folder, tmp_path, keep=2)
    labels = [publisher.publish(step, weights_of(model_folder)) for step in range(4)]

    assert newest_policies(tmp_path / "policies") == (labels[3], labels[2])


def test_what_a_killed_attempt_left_half_written_is_replaced(model_folder: Path, tmp_path: Path) -> None:
    draft = tmp_path / "policies" / ".draft"
    draft.mkdir(parents=True)
    (draft / "rubbish").touch()

    label = a_publisher(model_folder, tmp_path).publish(1, weights_of(model_folder))

    assert not (tmp_path / "policies" / label / "rubbish").exists()


def test_the_configuration_says_how_the_weights_are_stored(model_folder: Path, tmp_path: Path) -> None:
    weights = {name: weight.bfloat16() for name, weight in weights_of(model_folder).items()}

    label = a_publisher(model_folder, tmp_path).publish(1, weights)

    folder = tmp_path / "policies" / label
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert load_file(folder / "model.safetensors")["lm_head.weight"].dtype is torch.bfloat16


def test_an_old_configuration_keeps_its_old_key() -> None:
    assert with_dtype({"torch_dtype": "bfloat16"}, torch.float32) == {"torch_dtype": "float32"}
    assert with_dtype({}, torch.float32) == {"dtype": "float32"}


@pytest.mark.parametrize("tied", [False, True])
def test_a_large_policy_is_several_files_that_hold_what_one_would(tmp_path: Path, *, tied: bool) -> None:
    base = a_model_folder(tmp_path / "base", tied=tied)
    weights = weights_of(base)
    folders = []
    for name, largest_file in (("one", LARGEST_FILE), ("many", 10_000)):
        place = tmp_path / name
        publisher = Publisher(base, folder=place, announcement=place / "policy.json", keep=1, largest_file=largest_file)
        folders.append(place / publisher.publish(1, weights))
        verify_policy(folders[-1])

    one, many = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in folders)
    files = sorted(folders[1].glob("*.safetensors"))
    assert not (folders[1] / "model.safetensors").exists() and len(files) > 3
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    assert all(sum(t.nbytes for t in load_file(path).values()) <= 10_000 for path in files)
    assert one.keys() == many.keys() and all(torch.equal(one[name], many[name]) for name in one)


def test_the_local_engine_reads_several_files_as_one(model_folder: Path, tmp_path: Path) -> None:
    loaded = []
    for name, largest_file in (("one", LARGEST_FILE), ("many", 10_000)):
        place = tmp_path / name
        publisher = Publisher(
            model_folder, folder=place, announcement=place / "policy.json", keep=1, largest_file=largest_file
        )
        folder = place / publisher.publish(1, weights_of(model_folder))
        loaded.append(load_weights(folder, read_architecture(folder), dtype=torch.float32))

    one, many = loaded
    assert torch.equal(one.embedding, many.embedding) and torch.equal(one.head, many.head)
    assert len(one.layers) == len(many.layers) == 2


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=20), largest=st.integers(1, 100))
def test_parts_hold_every_name_once_in_order_within_the_limit(sizes: list[int], largest: int) -> None:
    named = {f"w{number}": size for number, size in enumerate(sizes)}
    parts = split_by_size(named, largest=largest)

    assert [name for part in parts for name in part] == list(named)
    assert all(len(part) == 1 or sum(named[name] for name in part) <= largest for part in parts)
    assert all(sum(named[n] for n in one) + named[other[0]] > largest for one, other in pairwise(parts))

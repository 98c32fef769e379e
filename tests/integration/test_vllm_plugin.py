"""What our vLLM plug-in asks of a folder before it touches a weight; the rest of it is proven on a running vLLM."""

import importlib
import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rlvr_trainer.engines.vllm import PLUGIN, is_plugin_installed
from rlvr_vllm import BACKEND, register
from tiny_models import a_config, random_tensors, write_model

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is missing: make setup-vllm")


def plugin() -> Any:
    """The module that imports vLLM, which takes its time."""
    return importlib.import_module("rlvr_vllm.directory")


def test_it_is_known_by_one_name_to_the_agent_and_to_vllm() -> None:
    points = importlib.metadata.entry_points(group="vllm.general_plugins", name=BACKEND)

    assert is_plugin_installed()
    assert PLUGIN == BACKEND
    assert {point.value for point in points} == {"rlvr_vllm:register"}


@needs_vllm
def test_it_registers_once_however_often_it_is_called() -> None:
    for _ in range(2):
        register()

    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory  # noqa: PLC0415

    assert WeightTransferEngineFactory._registry[BACKEND]() is plugin().DirectoryEngine


@needs_vllm
def test_the_shapes_of_a_folder_are_read_from_all_its_files(tmp_path: Path) -> None:
    tensors = random_tensors(a_config())
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2])):
        save_file({name: tensors[name] for name in names}, tmp_path / f"part-{number}.safetensors")

    assert plugin().shapes_in(tmp_path) == {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert plugin().shapes_in(tmp_path / "absent") == {}


@needs_vllm
def test_an_adapter_in_a_folder_within_is_no_part_of_the_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    shapes, tensors = plugin().shapes_in(folder), dict(plugin()._tensors(folder))
    (folder / "adapter").mkdir()
    save_file({"base_model.model.a.lora_A.weight": torch.ones(2, 2)}, folder / "adapter" / "adapter_model.safetensors")

    assert plugin().shapes_in(folder) == shapes
    assert dict(plugin()._tensors(folder)).keys() == tensors.keys()


@needs_vllm
@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({}, "holds no safetensors"),
        ({"a": (2, 3)}, "tensor 'b' is absent, but the model that is served has"),
        (
            {"a": (2, 3), "b": (5,)},
            r"'b' is \(5,\), but the model that is served has \(4,\); nothing was changed",
        ),
        ({"a": (2, 3), "b": (4,), "c": (1,)}, "tensor 'c' is .* but the model that is served has none"),
    ],
    ids=["nothing", "one less", "another shape", "one more"],
)
def test_a_folder_of_another_model_is_refused_by_its_first_tensor(theirs: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plugin().expect_same({"a": (2, 3), "b": (4,)}, theirs, Path("folder"))


@needs_vllm
def test_an_output_layer_may_be_left_out_only_where_it_is_the_embedding() -> None:
    ours, theirs = {"embed": (4, 2), "lm_head.weight": (4, 2)}, {"embed": (4, 2)}

    plugin().expect_same(ours, theirs, Path("folder"), optional=("lm_head.weight",))
    plugin().expect_same(theirs, ours, Path("folder"), optional=("lm_head.weight",))
    with pytest.raises(ValueError, match=r"'lm_head\.weight' is absent"):
        plugin().expect_same(ours, theirs, Path("folder"))


@needs_vllm
def test_every_tensor_of_a_folder_is_handed_on_once(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    expected = random_tensors(json.loads((folder / "config.json").read_text()))

    found = list(plugin()._tensors(folder))

    assert sorted(name for name, _ in found) == sorted(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found)

from pathlib import Path

import pytest

from rlvr_api import ModelSpec
from rlvr_api.model import HubModel
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.models.folder import checked_folder, model_folder

FILES = ("config.json", "tokenizer.json", "model.safetensors")


def a_folder(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or FILES:
        (folder / name).touch()
    return folder


def test_the_shipped_model_has_a_whole_folder() -> None:
    assert model_folder(ModelSpec(builtin="arithmetic")).name == "arithmetic"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_path_may_be_plain_or_a_file_uri(tmp_path: Path, scheme: str) -> None:
    folder = a_folder(tmp_path / "my model")
    text = f"{scheme}{folder}".replace(" ", "%20" if scheme else " ")

    assert model_folder(ModelSpec(path=text)) == folder


def test_shards_with_an_index_are_weights_too(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "config.json", "tokenizer.json", "model.safetensors.index.json")

    assert checked_folder(folder) == folder


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = a_folder(tmp_path, *(name for name in FILES if name != missing))

    with pytest.raises(InvalidInput, match=missing):
        checked_folder(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        model_folder(ModelSpec(path=str(tmp_path / "nowhere")))


def test_a_folder_on_another_machine_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidInput, match="Copy it"):
        model_folder(ModelSpec(path="s3://bucket/model"))


def test_an_unknown_shipped_model_is_refused() -> None:
    with pytest.raises(InvalidInput, match="poetry"):
        model_folder(ModelSpec(builtin="poetry"))


def test_a_hub_model_is_found_in_the_cache_by_branch_and_by_commit(tmp_path: Path) -> None:
    repository = tmp_path / "models--maker--tiny"
    folder = a_folder(repository / "snapshots" / "c0ffee")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c0ffee")

    for revision in ("main", "c0ffee"):
        spec = ModelSpec(hub=HubModel(repository="maker/tiny", revision=revision))
        assert model_folder(spec, environment={"HF_HUB_CACHE": str(tmp_path)}) == folder


def test_a_hub_model_that_was_never_fetched_says_how_to_fetch_it(tmp_path: Path) -> None:
    spec = ModelSpec(hub=HubModel(repository="maker/other"))

    with pytest.raises(InvalidInput, match="hf download maker/other --revision main"):
        model_folder(spec, environment={"HF_HOME": str(tmp_path)})

"""What any number of ranks wrote, any number of ranks reads."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from learning import a_backend, train
from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.learner.backends.local import LocalBackend, LocalFiles, stored_in
from rlvr_trainer.learner.shards import KINDS, MOMENTS, WEIGHT, Piece, Shards, check_fit, write_shard

Cuts = Sequence[int]


def whole_state(sizes: Sequence[int]) -> dict[str, dict[str, Tensor]]:
    """Weights w0, w1, ... whose elements all differ, and moments that differ from them."""
    values = iter(range(10**6))
    return {
        f"w{number}": {kind: torch.tensor([float(next(values)) for _ in range(size)]) for kind in KINDS}
        for number, size in enumerate(sizes)
    }


def cut_at(state: dict[str, dict[str, Tensor]], cuts: Cuts, *, rank: int) -> list[Piece]:
    """Rank's part of every weight; `cuts` are percents at which a weight is cut."""
    pieces = []
    for name, tensors in state.items():
        size = tensors[WEIGHT].numel()
        edges = [0, *(size * percent // 100 for percent in sorted(cuts)), size]
        start, end = edges[rank], edges[rank + 1]
        pieces.append(
            Piece(name=name, start=start, tensors={kind: tensors[kind][start:end] for kind in KINDS}),
        )
    return pieces


def write_all(folder: Path, state: dict[str, dict[str, Tensor]], cuts: Cuts, *, num_updates: int = 7) -> Shards:
    for rank in range(len(cuts) + 1):
        write_shard(folder, cut_at(state, cuts, rank=rank), rank=rank, size=len(cuts) + 1, num_updates=num_updates)
    return Shards(folder)


percents = st.lists(st.integers(0, 100), max_size=4)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), written=percents, read=percents)
def test_what_r_ranks_wrote_n_ranks_read(sizes: list[int], written: list[int], read: list[int]) -> None:
    state = whole_state(sizes)
    with tempfile.TemporaryDirectory() as folder:
        shards = write_all(Path(folder), state, written)
        for rank in range(len(read) + 1):
            for wanted in cut_at(state, read, rank=rank):
                for kind in KINDS:
                    found = shards.read(wanted.name, kind, start=wanted.start, size=wanted.size)
                    assert torch.equal(found, wanted.tensors[kind])

        assert shards.sizes == {f"w{number}": size for number, size in enumerate(sizes)}
        assert shards.num_updates == 7


def test_a_shard_holds_its_part_alone(tmp_path: Path) -> None:
    write_all(tmp_path, whole_state([10_000]), [50])

    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "state-00000-of-00002.safetensors",
        "state-00001-of-00002.safetensors",
    ]
    assert all(3 * 5000 * 4 <= path.stat().st_size < 3 * 5000 * 4 + 1000 for path in tmp_path.iterdir())


def test_a_shard_that_is_missing_is_noticed_at_once(tmp_path: Path) -> None:
    write_all(tmp_path, whole_state([9]), [30, 60])
    (tmp_path / "state-00001-of-00003.safetensors").unlink()

    with pytest.raises(CorruptArtifact, match=r"state-00000-of-00003.*is one of 3 shards, but 2 are there"):
        Shards(tmp_path)


def test_elements_that_no_shard_holds_are_counted(tmp_path: Path) -> None:
    state = whole_state([10])
    pieces = [Piece(name="w0", start=4, tensors={kind: state["w0"][kind][4:] for kind in KINDS})]
    write_shard(tmp_path, pieces, rank=0, size=1, num_updates=1)

    with pytest.raises(CorruptArtifact, match="hold 6 of 10 elements of w0 from 0 on"):
        Shards(tmp_path).read("w0", WEIGHT, start=0, size=10)


@pytest.mark.parametrize("sizes", [{"w0": 4}, {"w0": 4, "w1": 3}, {"w0": 4, "w1": 2, "w2": 1}])
def test_shards_of_another_model_are_refused_by_the_first_weight_that_differs(
    tmp_path: Path, sizes: dict[str, int]
) -> None:
    shards = write_all(tmp_path, whole_state([4, 2]), [])

    check_fit(shards, {"w0": 4, "w1": 2}, folder=tmp_path)
    with pytest.raises(CorruptArtifact, match=r"does not fit the base model: w[12] is missing.*spec.model"):
        check_fit(shards, sizes, folder=tmp_path)


def trained(model_folder: Path, steps: Sequence[int], backend: LocalBackend | None = None) -> LocalBackend:
    backend = backend or a_backend(model_folder)
    train(backend, *steps)
    return backend


def sharded(stored: LocalFiles, shapes: dict[str, Tensor], folder: Path, *, num_ranks: int) -> None:
    """The local backend's checkpoint as that many ranks would have written it."""
    state = {
        name: {kind: stored.read(name, kind, start=0, size=shape.numel()) for kind in KINDS}
        for name, shape in shapes.items()
    }
    cuts = [100 * rank // num_ranks for rank in range(1, num_ranks)]
    for rank in range(num_ranks):
        pieces = cut_at(state, cuts, rank=rank)
        write_shard(folder, pieces, rank=rank, size=num_ranks, num_updates=stored.num_updates)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_the_local_backend_goes_on_from_shards_bit_for_bit(model_folder: Path, tmp_path: Path, num_ranks: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    straight = trained(model_folder, [1, 2])
    straight.save(whole)
    sharded(LocalFiles(whole, straight._named), dict(straight._named), parts, num_ranks=num_ranks)
    resumed = a_backend(model_folder)
    resumed.load(parts)
    trained(model_folder, [3], straight)
    trained(model_folder, [3], resumed)

    assert all(torch.equal(weight, resumed.weights()[name]) for name, weight in straight.weights().items())


def test_the_local_backends_files_are_read_by_name_and_part(model_folder: Path, tmp_path: Path) -> None:
    backend = trained(model_folder, [1])
    backend.save(tmp_path)
    stored = stored_in(tmp_path, backend._named)

    assert stored.num_updates == 1 and stored.sizes == {name: p.numel() for name, p in backend._named.items()}
    for name, parameter in backend._named.items():
        part = slice(1, parameter.numel() - 1)
        held = {WEIGHT: parameter.detach(), **{kind: backend._optimizer.state[parameter][kind] for kind in MOMENTS}}
        for kind in KINDS:
            found = stored.read(name, kind, start=part.start, size=part.stop - part.start)
            assert torch.equal(found, held[kind].flatten()[part]), (name, kind)


def test_a_checkpoint_from_before_any_update_has_no_moments(model_folder: Path, tmp_path: Path) -> None:
    backend = a_backend(model_folder)
    backend.save(tmp_path)
    stored = stored_in(tmp_path, backend._named)

    assert stored.num_updates == 0
    assert stored.read("model.norm.weight", "exp_avg", start=0, size=32).tolist() == [0.0] * 32

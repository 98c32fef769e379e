"""Nodes that each store their part of a checkpoint, and the one that completes it."""

import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.errors import Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.storage.checkpoints import Checkpoints, carry_out, describe, plan_files
from rlvr_trainer.storage.parts import Node, gather_parts, part_key, plan_completion, plan_part
from rlvr_trainer.storage.store import Store
from rlvr_trainer.storage.uploader import Uploader
from storing import a_memory_store, an_origin, anything


def files_of_node(folder: Path, node: int) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"state-{node:05d}.safetensors"
    path.write_bytes(f"what node {node} held".encode() * (node + 1))
    return {path.name: path}


def store_part(store: Store, folder: Path, node: int, *, step: int = 4, attempt: int = 1) -> None:
    files = files_of_node(folder, node)
    for operation in plan_part(files, describe(step, files, an_origin(attempt=attempt)), node=node):
        carry_out(operation, store)


def complete(store: Store, folder: Path, *, count: int, step: int = 4, attempt: int = 1) -> None:
    """What the first node does once it has stored its own files."""
    files, node = files_of_node(folder, 0), Node(count=count)
    for operation in plan_files(step, files):
        carry_out(operation, store)
    whole = gather_parts(store, describe(step, files, an_origin(attempt=attempt)), node)
    for operation in plan_completion(whole, node):
        carry_out(operation, store)


@given(count=st.integers(1, 6), order=st.randoms(use_true_random=False))
def test_the_parts_of_all_nodes_make_one_checkpoint_in_whatever_order_they_come(
    tmp_path_factory: pytest.TempPathFactory, count: int, order: Random
) -> None:
    store, folder = a_memory_store(), tmp_path_factory.mktemp("parts")
    others = list(range(1, count))
    order.shuffle(others)
    for node in others:
        store_part(store, folder, node)
    complete(store, folder, count=count)

    restored = Checkpoints(store, keep=1).restore(folder / "restored", accept=anything)
    assert restored is not None and restored.step == 4
    assert sorted(path.name for path in (folder / "restored").iterdir()) == [
        f"state-{node:05d}.safetensors" for node in range(count)
    ]
    assert not any("part-" in entry.key for entry in store.entries())


def test_until_the_last_node_is_done_there_is_no_checkpoint_and_the_node_is_named(tmp_path: Path) -> None:
    store = a_memory_store()
    store_part(store, tmp_path, 1)

    with pytest.raises(Unavailable, match=r"node 2 has not stored its part of step 4 yet \(memory:.*part-a001-n00002"):
        complete(store, tmp_path, count=3)
    assert Checkpoints(store, keep=1).restore(tmp_path / "restored", accept=anything) is None


def test_what_a_lost_attempt_left_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    store = a_memory_store()
    store_part(store, tmp_path, 1, attempt=1)

    with pytest.raises(Unavailable, match="node 1 has not stored its part"):
        complete(store, tmp_path, count=2, attempt=2)


def test_a_part_is_told_after_its_files(tmp_path: Path) -> None:
    """A part that is told is there whole."""
    files = files_of_node(tmp_path, 1)
    keys = [operation.key for operation in plan_part(files, describe(4, files, an_origin()), node=1)]

    assert keys == ["step-000004/state-00001.safetensors", part_key(4, attempt=1, node=1)]


def an_uploader(store: Store, folder: Path, node: Node) -> Uploader:
    return Uploader(
        Checkpoints(store, keep=2),
        staging=folder / f"node-{node.index}",
        origin=an_origin(),
        board=Board(),
        resumed=None,
        node=node,
    )


def stage(uploader: Uploader, node: int, step: int) -> None:
    folder = uploader.stage(step, num_bytes=10)
    files_of_node(folder, node)
    uploader.submit(step, folder)


def test_the_first_nodes_uploader_waits_for_the_others_and_says_for_whom(tmp_path: Path) -> None:
    store = a_memory_store()
    first, second = (an_uploader(store, tmp_path, Node(index=index, count=2)) for index in (0, 1))
    stage(first, 0, 2)
    first.expire(30)
    while first.status.last_error is None:
        time.sleep(0.01)
    waiting = first.status.last_error
    stage(second, 1, 2)
    second.drain()
    first.drain()

    assert waiting is not None and "node 1 has not stored its part of step 2" in waiting
    assert first.status.step == 2 and first.status.last_error is None
    assert second.status.step is None, "only the first node tells of checkpoints"
    assert all(uploader.close(timeout=1) for uploader in (first, second))
    assert Checkpoints(store, keep=2).restore(tmp_path / "restored", accept=anything) is not None


def test_a_node_that_never_stores_its_part_costs_the_checkpoint_and_no_more(tmp_path: Path) -> None:
    store = a_memory_store()
    first = an_uploader(store, tmp_path, Node(index=0, count=2))
    stage(first, 0, 2)

    assert not first.close(timeout=0.3)
    assert Checkpoints(store, keep=2).restore(tmp_path / "restored", accept=anything) is None

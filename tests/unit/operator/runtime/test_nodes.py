"""A node is lost when it is not ready or gone, and none is before all are known."""

from rlvr_operator.cluster.nodes import Nodes
from rlvr_operator.cluster.resources import Raw


def a_node(name: str, *, ready: str = "True") -> Raw:
    conditions = [{"type": "Ready", "status": ready}]
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "status": {"conditions": conditions}}


def test_nothing_is_lost_before_the_first_complete_list() -> None:
    nodes = Nodes(lambda _name: None)
    nodes.put(a_node("a"))

    assert nodes.lost(["a", "b"]) == frozenset()


def test_a_node_that_is_not_ready_or_not_there_is_lost() -> None:
    nodes = Nodes(lambda _name: None)
    for node in (a_node("good"), a_node("silent", ready="Unknown"), a_node("going")):
        nodes.put(node)
    nodes.keep_only({"uid-good", "uid-silent", "uid-going"}, version=1)
    nodes.remove(a_node("going"))

    assert nodes.lost(["good", "silent", "going", "never", ""]) == {"silent", "going", "never"}


def test_a_node_that_is_missing_from_a_new_list_is_lost() -> None:
    nodes = Nodes(lambda _name: None)
    nodes.put(a_node("a"))
    nodes.keep_only(set(), version=1)

    assert nodes.lost(["a"]) == {"a"}


def test_only_changes_of_state_are_told() -> None:
    told: list[str] = []
    nodes = Nodes(told.append)
    for ready in ("True", "True", "False", "False", "True"):
        nodes.put(a_node("a", ready=ready))
    nodes.remove(a_node("a"))
    nodes.remove(a_node("a"))

    assert told == ["a", "a", "a", "a"]

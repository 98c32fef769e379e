"""Which context is used, and what is said when none can be."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlvr_trainer.cluster.kubeconfig import choose
from rlvr_trainer.errors import InvalidInput


def a_kubeconfig(path: Path, current: str | None, **contexts: str | None) -> str:
    items: list[dict[str, Any]] = [{"name": name, "context": {"namespace": place}} for name, place in contexts.items()]
    path.write_text(yaml.safe_dump({"contexts": items} | ({"current-context": current} if current else {})))
    return str(path)


def test_the_option_wins_over_the_environment(tmp_path: Path) -> None:
    ours, other = a_kubeconfig(tmp_path / "a", "a", a="team"), a_kubeconfig(tmp_path / "b", "b", b=None)

    by_option = choose({"KUBECONFIG": other}, kubeconfig=ours, context=None)
    by_environment = choose({"KUBECONFIG": other}, kubeconfig=None, context=None)

    assert by_option is not None
    assert by_environment is not None
    assert (by_option.context, by_option.namespace) == ("a", "team")
    assert (by_environment.context, by_environment.namespace) == ("b", "default")


def test_several_files_are_read_as_one_and_the_first_wins(tmp_path: Path) -> None:
    files = os.pathsep.join(
        [
            a_kubeconfig(tmp_path / "a", None, x="first"),
            a_kubeconfig(tmp_path / "b", "x", x="second", y="other"),
            "/none",
        ]
    )

    current, named = (choose({"KUBECONFIG": files}, kubeconfig=None, context=context) for context in (None, "y"))

    assert current is not None
    assert named is not None
    assert (current.namespace, named.namespace) == ("first", "other")


def test_a_pod_without_a_kubeconfig_uses_its_own_account() -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": "/nowhere"}

    assert choose(environment, kubeconfig=None, context=None) is None


@pytest.mark.parametrize(
    ("text", "context", "words"),
    [
        (None, None, "there is no kubeconfig at .*: give one with --kubeconfig FILE, or set KUBECONFIG"),
        ("a: [", None, "cannot be read: while parsing"),
        ("just words", None, "is no kubeconfig"),
        ("contexts: []", None, "has no current context: choose one with --context; it has none"),
        ("contexts: [{name: a}, {name: b}]", None, "no current context.*there is a, b"),
        ("contexts: [{name: a}, {name: b}]", "c", "context 'c' is not in the kubeconfig .*: there is a, b"),
        ("{current-context: gone, contexts: [{name: a}]}", None, "context 'gone' is not in the kubeconfig"),
    ],
)
def test_a_kubeconfig_that_does_not_say_which_cluster_is_refused(
    tmp_path: Path, text: str | None, context: str | None, words: str
) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)

    with pytest.raises(InvalidInput, match=words):
        choose({}, kubeconfig=str(file), context=context)

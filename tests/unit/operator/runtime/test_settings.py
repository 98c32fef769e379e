"""The environment is read once; what cannot be used is named."""

import pytest

from rlvr_operator.errors import InvalidSettings
from rlvr_operator.settings import Settings, read_settings


def test_without_variables_the_defaults_hold() -> None:
    settings = read_settings({"PATH": "/bin"})

    assert settings == Settings(identity=settings.identity)


def test_each_kind_of_value_is_read() -> None:
    settings = read_settings(
        {
            "RLVR_OPERATOR_NAMESPACE": "ops",
            "RLVR_OPERATOR_WORKERS": "3",
            "RLVR_OPERATOR_SETTLE": "0.25",
            "RLVR_OPERATOR_WATCH_NODES": "false",
            "RLVR_OPERATOR_WATCH_NAMESPACES": "research, teaching,",
        }
    )

    assert (settings.namespace, settings.workers, settings.settle) == ("ops", 3, 0.25)
    assert (settings.watch_nodes, settings.watch_namespaces) == (False, ("research", "teaching"))


@pytest.mark.parametrize(("name", "value"), [("WORKERS", "many"), ("SETTLE", "soon"), ("WATCH_NODES", "perhaps")])
def test_a_value_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"RLVR_OPERATOR_{name}='{value}'"):
        read_settings({f"RLVR_OPERATOR_{name}": value})


def test_a_misspelt_variable_is_named_with_those_that_exist() -> None:
    with pytest.raises(InvalidSettings, match=r"RLVR_OPERATOR_WORKER is not a setting.*RLVR_OPERATOR_WORKERS"):
        read_settings({"RLVR_OPERATOR_WORKER": "1"})


def test_a_leader_must_stop_before_another_may_start() -> None:
    with pytest.raises(InvalidSettings, match="has to stop before another may start"):
        read_settings({"RLVR_OPERATOR_RENEW_DEADLINE": "15"})


def test_two_processes_on_one_machine_have_different_names() -> None:
    assert Settings().identity != Settings().identity

"""The CRD: fresh, structural, and as strict as the types."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from rlvr_api.schema import CRD_FILE, custom_resource_definition, job_schema, render
from rlvr_api.spec import FROZEN_WHILE_RUNNING, RLVRJobSpec
from rlvr_api.structural import structural

SCHEMA = job_schema()
FORBIDDEN = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "prefixItems", "title"}


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from schemas(member, f"{path}.{name}".lstrip("."))
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from schemas(schema[key], f"{path}[]")


def at(path: str) -> dict[str, Any]:
    return dict(schemas(SCHEMA))[path]


def test_the_crd_file_is_what_the_types_say() -> None:
    assert CRD_FILE.read_text() == render(), "run `make generate`"


def test_the_crd_file_is_yaml_of_the_object() -> None:
    assert yaml.safe_load(render()) == custom_resource_definition()


def test_the_schema_is_structural() -> None:
    for path, schema in schemas(SCHEMA):
        assert not FORBIDDEN & schema.keys(), path
        assert schema["type"] in {"object", "array", "string", "integer", "number", "boolean"}, path
        assert isinstance(schema.get("exclusiveMinimum", False), bool), path
        assert not {"properties", "additionalProperties"} <= schema.keys(), path


def test_every_field_is_explained() -> None:
    bare = [
        path
        for path, schema in schemas(SCHEMA)
        if path and not path.endswith("]") and not path.startswith("metadata") and not schema.get("description")
    ]
    assert bare == []


def test_strings_lists_and_maps_are_bounded_where_rules_compare_them() -> None:
    for path, schema in schemas(SCHEMA["properties"]["spec"]):
        if schema["type"] == "string":
            assert "maxLength" in schema or "enum" in schema, path
        if schema["type"] == "array":
            assert "maxItems" in schema, path


def test_a_choice_is_a_rule_of_the_api_server() -> None:
    (rule,) = at("spec.model")["x-kubernetes-validations"]

    assert rule["rule"] == "[has(self.builtin), has(self.path), has(self.hub)].exists_one(is_set, is_set)"
    assert rule["message"] == "set exactly one of builtin, path, hub"


@pytest.mark.parametrize("path", FROZEN_WHILE_RUNNING)
def test_what_a_running_job_is_made_of_is_fixed_until_it_is_suspended(path: str) -> None:
    (rule,) = (
        rule
        for rule in at("spec")["x-kubernetes-validations"]
        if rule.get("fieldPath") == f".{path}" and "oldSelf" in rule["rule"]
    )

    assert rule["rule"].startswith("oldSelf.suspend || ")
    assert "set suspend to true first" in rule["message"]
    assert f"spec.{path}" in dict(schemas(SCHEMA))


def test_rules_point_at_fields_that_exist() -> None:
    known = dict(schemas(SCHEMA))
    for path, schema in known.items():
        for rule in schema.get("x-kubernetes-validations", []):
            assert f"{path}{rule.get('fieldPath', '')}".lstrip(".") in known


def test_a_rule_for_the_api_server_is_a_sentence_without_placeholders() -> None:
    messages = [rule["message"] for _, schema in schemas(SCHEMA) for rule in schema.get("x-kubernetes-validations", [])]

    assert not any("{" in message or "  " in message for message in messages)


def test_defaults_are_filled_in_outside_the_algorithm_only() -> None:
    assert at("spec.training.optimizer.learningRate")["default"] == 1e-6
    assert at("spec.learner.backend")["default"] == {"local": {}}
    assert at("spec.algorithm.preset")["default"] == "grpo"
    assert "default" not in at("spec.algorithm.lengthReward.laser.alpha")
    assert at("spec.algorithm.lengthReward.laser.alpha")["description"].endswith("Default: 0.5.")


def test_no_part_of_the_status_is_ever_filled_in_by_the_api_server() -> None:
    assert not any("default" in schema for _, schema in schemas(SCHEMA["properties"]["status"]))


def test_pod_templates_are_left_to_the_api_servers_own_types() -> None:
    for role in ("learner", "rollout", "reward"):
        template = at(f"spec.{role}.template")
        assert template["x-kubernetes-preserve-unknown-fields"] is True
        assert template["type"] == "object"


def test_kubectl_sees_columns_scale_and_a_short_name() -> None:
    crd = custom_resource_definition()["spec"]
    (version,) = crd["versions"]

    columns = {column["name"]: column["priority"] for column in version["additionalPrinterColumns"]}
    assert [name for name, priority in columns.items() if priority == 0] == [
        "Phase",
        "Step",
        "Reward",
        "Rollouts",
        "Restarts",
        "Age",
    ]
    assert crd["names"]["shortNames"] == ["rlvr"]
    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.rollout.replicas"


def test_a_printer_column_reads_a_field_that_exists() -> None:
    (version,) = custom_resource_definition()["spec"]["versions"]
    known = dict(schemas(SCHEMA))
    scale = version["subresources"]["scale"].values()
    for path in [*(column["jsonPath"] for column in version["additionalPrinterColumns"]), *scale]:
        assert path.startswith(".metadata") or path.lstrip(".") in known


def test_a_construct_that_is_not_understood_is_refused() -> None:
    class Odd(RLVRJobSpec):
        pass

    Odd.model_fields["suspend"].json_schema_extra = {"uniqueItems": True}
    Odd.model_rebuild(force=True)
    with pytest.raises(NotImplementedError, match="uniqueItems"):
        structural(Odd)

"""The chart beside the gateway that it installs; what helm itself must read is `make manifests`."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from gateway.config import Config

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "cbr-gateway"


def read(name):
    return yaml.safe_load((CHART / name).read_text("utf-8"))


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft7Validator(json.loads((CHART / "values.schema.json").read_text("utf-8")))


def test_the_chart_has_the_version_of_the_gateway():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    chart = read("Chart.yaml")
    assert (chart["version"], chart["appVersion"]) == (wanted, wanted)


def test_the_values_are_of_their_schema_and_every_one_is_in_it(schema):
    values = read("values.yaml")
    schema.validate(values)
    for name, value in values.items():
        known = schema.schema["properties"][name].get("properties")
        if known is not None and name != "config":
            assert set(value) <= set(known), name


def test_the_sections_of_the_configuration_are_those_of_the_gateway(schema):
    known = schema.schema["properties"]["config"]["propertyNames"]["enum"]
    assert known == list(Config.model_fields)


REFUSED = {
    "a misspelt section": {"config": {"servers": {}}},
    "no workers": {"config": {"server": {"workers": 0}}},
    "credentials": {"config": {"upstream": {"credentials": {"main": {"secret_key": "abc"}}}}},
    "a password": {"config": {"upstream": {"credentials": {"main": {"password": "abc"}}}}},
    "a key of the audit log": {"config": {"audit": {"key": "abc"}}},
    "another form of it": {"config": {"audit": {"key": {"value": "abc"}}}},
    "a header for audit records": {"config": {"audit": {"otlp": {"headers": {"a": "abc"}}}}},
    "a header for traces": {"config": {"tracing": {"headers": {"a": "abc"}}}},
    "a key of a sink": {"config": {"events": {"sinks": [{"keys": ["whsec_abc"]}]}}},
    "no amount": {"resources": {"limits": {"cpu": "one"}}},
    "no share": {"podDisruptionBudget": {"maxUnavailable": "some"}},
}


@pytest.mark.parametrize("case", REFUSED)
def test_secrets_in_the_values_and_what_means_nothing_are_refused(schema, case):
    values = read("values.yaml")
    merge(values, REFUSED[case])
    assert not schema.is_valid(values)


def test_each_kind_of_secret_may_be_named(schema):
    named = {"env": "NAME"}
    values = read("values.yaml")
    credential = dict.fromkeys(("access_key", "secret_key", "security_token", "password"), named)
    merge(
        values,
        {
            "config": {
                "server": {"workers": "auto"},
                "upstream": {"credentials": {"main": credential}},
                "audit": {"key": named, "otlp": {"headers": {"authorization": named}}},
                "tracing": {"headers": {"authorization": named}},
                "events": {"sinks": [{"keys": [{"file": "/run/key"}]}]},
            },
            "resources": {"limits": {"cpu": 2, "memory": "1.5Gi"}},
            "podDisruptionBudget": {"maxUnavailable": "50%"},
        },
    )
    schema.validate(values)


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


@pytest.mark.parametrize(
    ("section", "key"),
    [("server", "listen"), ("server", "health_listen"), ("admin", "listen"), ("http", "listen")],
)
def test_an_address_that_the_chart_decides_is_refused(schema, section, key):
    values = read("values.yaml")
    values["config"].setdefault(section, {})[key] = "0.0.0.0:1"
    assert not schema.is_valid(values)

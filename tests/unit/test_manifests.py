"""The chart beside the gateway that it installs; what helm itself must read is `make manifests`."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

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


@pytest.mark.parametrize(
    ("section", "key"),
    [("server", "listen"), ("server", "health_listen"), ("admin", "listen"), ("http", "listen")],
)
def test_an_address_that_the_chart_decides_is_refused(schema, section, key):
    values = read("values.yaml")
    values["config"].setdefault(section, {})[key] = "0.0.0.0:1"
    assert not schema.is_valid(values)

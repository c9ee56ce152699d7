"""The OpenAPI document: true to its specification, to the protos and to what calls answer."""

import json
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
import structlog
from click.testing import CliRunner

from gateway.cli.openapi import openapi
from gateway.http.openapi import document
from gateway.operations import load_catalog
from gateway.reasons import REASONS, reason_name
from tests.functional.calls import REQUESTS

CATALOG = load_catalog()


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return document(CATALOG)


def valid(api: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    whole = {**schema, "components": api["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def test_it_is_one_of_openapi_3_1(api):
    assert api["openapi"].startswith("3.1")
    openapi_spec_validator.validate(api)


def test_it_has_every_rpc_with_its_comment_and_its_errors(api):
    assert set(api["paths"]) == {f"/cbrgateway.v1.{rpc}" for rpc in CATALOG.bindings}
    get = api["paths"]["/cbrgateway.v1.VaultService/GetVault"]["post"]
    assert get["summary"] == "Returns one vault."
    assert "`VAULT_NOT_FOUND`" in get["responses"]["404"]["description"]
    assert get["responses"]["401"] == {"$ref": "#/components/responses/401"}
    watch = api["paths"]["/cbrgateway.v1.TaskService/WatchTasks"]["post"]
    assert list(watch["responses"]["200"]["content"]) == ["text/event-stream"]
    text = json.dumps(api)
    names = {f"`{reason_name(reason)}`" for reason in REASONS}
    assert len([name for name in names if name in text]) > len(names) / 2


def in_camel_case(value: Any) -> Any:
    def camel(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    if isinstance(value, dict):
        return {camel(name): in_camel_case(each) for name, each in value.items()}
    return [in_camel_case(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("rpc", ["VaultService/CreateVault", "PolicyService/CreatePolicy"])
def test_requests_of_the_examples_are_of_their_schema(api, rpc):
    body = api["paths"][f"/cbrgateway.v1.{rpc}"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    valid(api, schema, in_camel_case(REQUESTS[rpc]))
    with pytest.raises(jsonschema.ValidationError):
        valid(api, schema, {"nonsense": 1})


async def test_what_calls_answer_is_of_its_schema(api, http):
    wanted = {"protectableType": "PROTECTABLE_TYPE_SERVER"}
    path = "/cbrgateway.v1.ProtectabilityService/ListProtectables"
    responses = api["paths"][path]["post"]["responses"]
    answer = await http.post(path, json=wanted)
    valid(api, responses["200"]["content"]["application/json"]["schema"], answer.json())
    refused = await http.post(path, json=wanted, headers={"authorization": ""})
    error = api["components"]["responses"][str(refused.status_code)]
    valid(api, error["content"]["application/json"]["schema"], refused.json())


async def test_the_listener_and_the_command_have_the_same(api, http):
    served = await http.get("/openapi.json", headers={"authorization": ""})
    assert served.headers["content-type"] == "application/json"
    assert served.json() == api
    # The gateway of the other tests may log meanwhile, to the same standard output.
    with structlog.testing.capture_logs():
        printed = CliRunner().invoke(openapi).output
    assert json.loads(printed) == api

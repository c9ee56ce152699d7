"""A gateway with a webhook, and what it is told of."""

import contextlib
import json
from pathlib import Path

import grpc
from jsonschema import Draft202012Validator, FormatChecker

from gateway.app import open_app
from gateway.config import Config
from gateway.events.settings import EventSettings
from gateway.state import StoreSettings
from tests.events.receiver import KEY, LOCAL, OTHER_KEY, Receiver
from tests.harness import World, config_for

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "events.schema.json").read_text())
VALID = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
WATCH = {"busy_s": 0.1, "idle_s": 0.2, "backoff_s": 0.3, "follow": "always"}
ENVIRON = {"HOOK_KEY": KEY, "OTHER_KEY": OTHER_KEY}


def settings(receiver: Receiver, *sinks, **more):
    section = {"sinks": list(sinks) or [receiver.sink()], **LOCAL, **more}
    return EventSettings.model_validate(section, context={"environ": ENVIRON})


def config_of(cloud, events, state=None, **sections) -> Config:
    known = config_for(cloud.base_url, {"watch": WATCH, **sections})
    return known.model_copy(update={"events": events, "state": state or StoreSettings()})


@contextlib.asynccontextmanager
async def telling(cloud, events, state=None, **sections):
    """One life of a gateway with those settings for events."""
    config = config_of(cloud, events, state, **sections)
    async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
        yield World(app, cloud, channel)


def assert_valid(events):
    for event in events:
        VALID.validate(event)

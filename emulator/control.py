"""The control API under `/_emulator`: what a test may do that no customer can.

It asks for no credentials.

Refusals are 400 (what was wrong with the request) or 404, as `{"error": …}`.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator import actions, fields
from emulator.emulator import Emulator
from emulator.errors import ApiError
from emulator.fields import Check, Need
from emulator.seed import add_resource
from emulator.transitions import Mode, Pace
from emulator.truth import entry_view
from emulator.views import protectable_view

Endpoint = Callable[[Request], Awaitable[Response]]


def control_routes(emulator: Emulator) -> list[Route]:
    """Return the routes of the control API, relative to its prefix."""
    control = Control(emulator)
    table = (
        ("POST", "/reset", control.reset),
        ("POST", "/seed", control.seed),
        ("GET", "/clock", control.show_clock),
        ("POST", "/clock", control.set_clock),
        ("GET", "/transitions", control.show_pace),
        ("POST", "/transitions", control.set_pace),
        ("GET", "/paging", control.show_paging),
        ("POST", "/paging", control.set_paging),
        ("GET", "/faults", control.list_faults),
        ("POST", "/faults", control.add_faults),
        ("DELETE", "/faults", control.remove_faults),
        ("DELETE", "/faults/{fault_id}", control.remove_faults),
        ("GET", "/truth", control.list_truth),
        ("DELETE", "/truth", control.clear_truth),
        ("POST", "/policies/{policy_id}/run", control.run_policy),
        ("POST", "/orders/{order_id}/pay", control.pay_order),
        ("POST", "/images", control.register_image),
        ("DELETE", "/resources/{resource_id}", control.delete_resource),
        ("GET", "/state", control.dump_state),
    )
    return [Route(path, _guarded(endpoint), methods=[method]) for method, path, endpoint in table]


def _guarded(endpoint: Endpoint) -> Endpoint:
    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except LookupError as error:
            return JSONResponse({"error": str(error)}, 404)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        except ApiError as error:
            return JSONResponse({"error": error.text}, 400)

    return guarded


async def _body(request: Request, check: Check = fields.mapping) -> dict[str, Any]:
    """The body as `check` lets it pass.

    Raises ApiError or ValueError, both with a text for people.
    """
    raw = await request.body()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError as error:
        raise ValueError("the body is not JSON") from error
    checked: dict[str, Any] = check(body, "")
    return checked


_SECONDS = fields.number(-1e9, 1e9)
_CLOCK = fields.record(step_s=_SECONDS, frozen=fields.boolean, skew_s=_SECONDS)
_PACE = fields.record(
    mode=fields.word(*(mode.value for mode in Mode)),
    reads=fields.integer(0),
    duration_s=fields.number(0, 1e9),
)
_IMAGE = fields.record(backup_id=Need(fields.text(1)), project_id=Need(fields.text(1)))
_WISHES = fields.many(
    fields.record(
        id=fields.text(1),
        name=fields.text(1),
        size=fields.integer(1),
        volumes=fields.many(fields.integer(1)),
        encrypted=fields.boolean,
        tags=fields.mapping,
    )
)
_COUNT = fields.integer(0, 10_000)
_ORDERS = fields.many(fields.anything)
_SINCE = fields.q_integer(0)


class Control:
    """The endpoints, bound to one emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def reset(self, _request: Request) -> Response:
        """Go back to the state after start."""
        self._emulator.reset()
        return Response(status_code=204)

    async def seed(self, request: Request) -> Response:
        """Add resources: `{"project_id", "servers": [{…}] or 3, "disks", "turbos", …}`."""
        body = await _body(request)
        world = self._emulator.world
        project = world.projects.get(str(body.pop("project_id", "")))
        if project is None:
            raise ValueError("project_id is missing or unknown")
        made: dict[str, list[Any]] = {}
        for plural, wishes in body.items():
            kind = plural.removesuffix("s")
            todo = (
                _WISHES(wishes, plural)
                if isinstance(wishes, list)
                else [{}] * _COUNT(wishes, plural)
            )
            items = [add_resource(world, project, kind, wish) for wish in todo]
            made[plural] = [protectable_view(world, item) for item in items]
        return JSONResponse(made)

    async def show_clock(self, _request: Request) -> Response:
        """Return `now`, `front` (seconds since 1970), `skew_s`, `frozen`."""
        clock = self._emulator.clock
        return JSONResponse(
            {
                "now": clock.now(),
                "front": clock.front(),
                "skew_s": clock.skew_s,
                "frozen": clock.frozen,
            }
        )

    async def set_clock(self, request: Request) -> Response:
        """Take `step_s`, `frozen`, `skew_s`, in any combination."""
        body = await _body(request, _CLOCK)
        clock = self._emulator.clock
        if "frozen" in body:
            clock.freeze(frozen=body["frozen"])
        if "skew_s" in body:
            clock.skew_s = float(body["skew_s"])
        clock.step(float(body.get("step_s", 0.0)))
        self._emulator.world.tasks.settle()
        return await self.show_clock(request)

    async def show_pace(self, _request: Request) -> Response:
        """Return `mode`, `reads`, `duration_s`."""
        return JSONResponse(asdict(self._emulator.world.tasks.pace))

    async def set_pace(self, request: Request) -> Response:
        """Take `mode`, `reads`, `duration_s`; what is absent stays."""
        body = await _body(request, _PACE)
        tasks = self._emulator.world.tasks
        pace = Pace(
            mode=Mode(body.get("mode", tasks.pace.mode)),
            reads=body.get("reads", tasks.pace.reads),
            duration_s=float(body.get("duration_s", tasks.pace.duration_s)),
        )
        tasks.settle()
        tasks.set_pace(pace)
        return await self.show_pace(request)

    async def show_paging(self, _request: Request) -> Response:
        """Return the rules by which lists are cut into pages."""
        return JSONResponse(asdict(self._emulator.world.paging))

    async def set_paging(self, request: Request) -> Response:
        """Take any of these rules; what is absent stays."""
        world = self._emulator.world
        world.paging = world.paging.changed(await _body(request))
        return await self.show_paging(request)

    async def list_faults(self, _request: Request) -> Response:
        """Return all faults with their counters."""
        return JSONResponse({"faults": self._emulator.faults.view()})

    async def add_faults(self, request: Request) -> Response:
        """Add one fault, or several as `{"faults": [...]}`; return their ids."""
        body = await _body(request)
        orders = _ORDERS(body.get("faults", [body]), "faults")
        return JSONResponse({"ids": [self._emulator.faults.add(order).id for order in orders]}, 201)

    async def remove_faults(self, request: Request) -> Response:
        """Remove the fault of the path, or all."""
        removed = self._emulator.faults.remove(request.path_params.get("fault_id"))
        if not removed and "fault_id" in request.path_params:
            raise LookupError("no such fault")
        return Response(status_code=204)

    async def list_truth(self, request: Request) -> Response:
        """Return the entries after `since` (a seq; default 0)."""
        entries = self._emulator.truth.entries(
            _SINCE([request.query_params.get("since", "0")], "since")
        )
        payload = msgspec.json.encode({"entries": [entry_view(entry) for entry in entries]})
        return Response(payload, media_type="application/json")

    async def clear_truth(self, _request: Request) -> Response:
        """Forget all entries."""
        self._emulator.truth.clear()
        return Response(status_code=204)

    async def run_policy(self, request: Request) -> Response:
        """Do now what the policy would do next; return the ids of the tasks it started."""
        tasks = actions.run_policy(self._emulator, request.path_params["policy_id"])
        return JSONResponse({"operation_log_ids": tasks})

    async def pay_order(self, request: Request) -> Response:
        """Pay an open order; the vault it waits for appears."""
        return JSONResponse(
            {"vault_id": actions.pay_order(self._emulator, request.path_params["order_id"])}
        )

    async def register_image(self, request: Request) -> Response:
        """Take `backup_id` and `project_id`, which registers an image that guards the backup."""
        body = await _body(request, _IMAGE)
        image_id = actions.register_image(self._emulator, body["backup_id"], body["project_id"])
        return JSONResponse({"image_id": image_id}, 201)

    async def delete_resource(self, request: Request) -> Response:
        """Delete a server, disk or file share as its owner would; vaults list it as `deleted`."""
        actions.delete_resource(self._emulator, request.path_params["resource_id"])
        return Response(status_code=204)

    async def dump_state(self, _request: Request) -> Response:
        """Return every object of every project."""
        payload = msgspec.json.encode(actions.dump(self._emulator))
        return Response(payload, media_type="application/json")

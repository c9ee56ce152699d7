"""What a change would do, as the gateway tells it without making it (`--dry-run`)."""

from collections.abc import Iterator, Mapping
from typing import Any

from cbrctl.cells import harmless


def told(validation: Mapping[str, Any]) -> Iterator[str]:
    """For people: what would be sent, what it would take and destroy, and what may go wrong."""
    if sent := validation.get("upstream_request"):
        yield harmless(f"would send {sent['verb']} {sent['path']}")
        if sent["body"]:
            yield harmless(f"  {sent['body']}")
    for limit in validation.get("limits", ()):
        yield (
            f"would take {limit['asked']} of {limit['name']}: {limit.get('used_before', '?')} ->"
            f" {limit.get('used_after', '?')} of {limit['value']}"
        )
    yield from losses(validation)
    for warning in validation.get("warnings", ()):
        yield f"warning: {harmless(warning)}"


def losses(validation: Mapping[str, Any]) -> Iterator[str]:
    """What would go with the object."""
    for loss in validation.get("losses", ()):
        kind = loss["kind"]
        many = "policies" if kind == "policy" else f"{kind}s"
        told = "would work on it no more" if kind == "policy" else "would go with it"
        if loss["withheld"]:
            yield f"{many} {told}; how many, your permissions do not let you see"
        elif loss["unknown"]:
            yield f"it is not known how many {many} {told}"
        elif loss["count"]:
            newest = f", the newest from {loss['newest_time']}" if "newest_time" in loss else ""
            yield f"{loss['count']} {kind if loss['count'] == 1 else many} {told}{newest}"
    for task in validation.get("running_task_ids", ()):
        yield f"task {task} is at work on it"

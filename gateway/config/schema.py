"""Walks the settings' types beside a key path: what may stand there, and how pydantic's errors
about it read in our words.
"""

import datetime as dt
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.config.problems import KeyPath, did_you_mean
from gateway.wording import sentence

_SCALARS = (int, float, dt.date)


def located(
    model: type[BaseModel], location: Sequence[str | int]
) -> tuple[KeyPath, type[BaseModel] | None]:
    """The key path of a pydantic error, without the words pydantic adds for unions, and the
    settings class that holds its last key.
    """
    path: list[str | int] = []
    here: Any = model
    holder: type[BaseModel] | None = None
    for part in location:
        holder = None
        members = _members(here)
        if len(members) > 1:
            here = members.get(str(part))
            continue
        path.append(part)
        (here,) = members.values() or (None,)
        if isinstance(here, type) and issubclass(here, BaseModel):
            holder = here
            known = here.model_fields.get(str(part))
            here = known.annotation if known else None
        else:
            here = next(iter(reversed([a for a in get_args(here) if a is not ...])), None)
    return tuple(path), holder


def _members(annotation: Any) -> dict[str, Any]:  # noqa: ANN401 - types as values
    """The alternatives of an annotation by the word that tells them apart; one without a word for
    anything but a tagged union.
    """
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not types.NoneType]
        return (
            {_tag(member): member for member in members}
            if len(members) > 1
            else _members(members[0])
        )
    return {"": annotation}


def _tag(member: type[BaseModel]) -> str:
    (tag,) = get_args(member.model_fields["kind"].annotation)
    return str(tag)


def explained(
    error: ErrorDetails, path: KeyPath, holder: type[BaseModel] | None
) -> tuple[KeyPath, str]:
    """Where and what: an error of pydantic as key path and sentence.

    Values are shown only where they cannot be secret.
    """
    kind, context, last = error["type"], error.get("ctx", {}), str(path[-1]) if path else ""
    known = holder.model_fields if holder else {}
    text = sentence(error)
    match kind:
        case "missing":
            text = f"is missing. {known[last].description}"
        case "extra_forbidden":
            text = f"is not a known key. {did_you_mean(last, known, 'Known keys here')}"
        case "string_type":
            text = (
                "must be text. Put quotes around it"
                if isinstance(error["input"], _SCALARS)
                else "must be text"
            )
        case "literal_error" | "enum":
            text = (
                f"must be {_bare(context['expected'])}{_near(error['input'], context['expected'])}"
            )
        case "union_tag_not_found":
            path, text = (*path, "kind"), "is missing. It is access_key or password"
        case "union_tag_invalid":
            wanted = context["expected_tags"]
            path, text = (*path, "kind"), f"must be {_bare(wanted)}{_near(context['tag'], wanted)}"
    return path, text


def _bare(expected: str) -> str:
    """`json, console or auto`."""
    head, _, last = expected.replace("'", "").replace(" or ", ", ").rpartition(", ")
    return f"{head} or {last}" if head else last


def _near(given: object, expected: str) -> str:
    words = expected.replace("'", "").replace(" or ", ", ").split(", ")
    hint = did_you_mean(given, words, "") if isinstance(given, str) else ""
    return f". {hint}" if hint.startswith("Did") else ""


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key below a settings class: its path (`tenants[].projects[].id`,
    `upstream.regions.<name>.endpoint`), default and description.
    """
    for name, known in model.model_fields.items():
        key = f"{prefix}{name}"
        models, container = _models_of(known.annotation)
        for below in models:
            yield from leaves(below, f"{key}{container}.")
        if not models:
            yield (
                key,
                (
                    "required"
                    if known.is_required()
                    else _default_text(
                        known.get_default(call_default_factory=True, validated_data={})
                    )
                ),
                known.description or "",
            )


def _default_text(value: object) -> str:
    """A list as one would write it, or as nothing."""
    return (
        (f"[{', '.join(map(str, value))}]" if value else "None")
        if isinstance(value, tuple)
        else str(value)
    )


def _models_of(
    annotation: Any,  # noqa: ANN401 - any message or value
) -> tuple[list[type[BaseModel]], str]:
    members = list(_members(annotation).values())
    match get_origin(members[0]):
        case origin if origin is tuple:
            return _models_of(get_args(members[0])[0])[0], "[]"
        case origin if origin is dict:
            return _models_of(get_args(members[0])[1])[0], ".<name>"
        case origin if origin is Literal:
            return [], ""
    return [
        member for member in members if isinstance(member, type) and issubclass(member, BaseModel)
    ], ""

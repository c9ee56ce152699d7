"""From a request message to the HTTP request by its declaration, and to what it is about."""

import msgspec
from google.protobuf.message import Message

from gateway.upstream.account import Account
from gateway.upstream.declaration import IN_BODY, Binding, query_pairs
from gateway.upstream.http import HttpRequest
from gateway.upstream.quoting import encoded
from gateway.upstream.values import Json


def http_request(
    binding: Binding, request: Message, account: Account, members: dict[str, Json]
) -> HttpRequest:
    """`members`: of the body or the query."""
    url = account.endpoint + binding.target(request, account.project_id)
    if binding.method in IN_BODY:
        return HttpRequest(
            binding.method, url, {"Content-Type": "application/json"}, msgspec.json.encode(members)
        )
    if members:
        pairs = query_pairs(members)
        query = "&".join([f"{encoded(name)}={encoded(value)}" for name, value in pairs])
        url = f"{url}?{query}" if query else url
    return HttpRequest(binding.method, url, {"Content-Type": "application/json"})


def objects_of(binding: Binding, request: Message) -> str:
    """The ids in the path of the call; where it has none, the first id that the request names."""
    return "/".join(filter(None, [getattr(request, name) for name in binding.path_ids])) or next(
        (each.value for field in binding.id_fields for each in field.ids(request)), ""
    )


def changed_object(binding: Binding, request: Message) -> str:
    """What a change is made to, such as `vault_id 3f5c…`: the first variable of its path, or the id
    that the caller gives to what is created.
    """
    for segment in binding.segments:
        return f"{segment.variable} {getattr(request, segment.variable)}"
    for fd, value in request.ListFields():
        if (
            fd.message_type is not None
            and not fd.is_repeated
            and f"{fd.name}_id" in fd.message_type.fields_by_name
        ):
            return f"{fd.name}_id {getattr(value, f'{fd.name}_id')}"
    return ""

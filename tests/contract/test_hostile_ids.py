"""Whatever a caller puts into a path field or a filter, the URL stays the one that was declared."""

import itertools
import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, reason_name
from gateway.operations import load_catalog
from gateway.upstream.account import Account
from gateway.upstream.declaration import query_pairs
from gateway.upstream.request_builder import http_request
from tests.unit.upstream.messages import messages

PROJECT = "00cbf567ab4bc639a32abb3a0dca763a"
ACCOUNT = Account(PROJECT, "https://cbr.example", auth=None)
BINDINGS = list(load_catalog())
BY_RPC = {binding.rpc: binding for binding in BINDINGS}
WITH_IDS = [b for b in BINDINGS if b.segments]
WITH_QUERY = [b for b in BINDINGS if b.method in {"GET", "DELETE"} and b.request_plan.writers]

BAD = [
    "",
    ".",
    "..",
    "../..",
    "%2e%2e",
    "%2E.",
    "50%",
    "%%32e",
    "a/b",
    "a%2fb",
    "a\\b",
    "a?b=c",
    "a#b",
    "a;b",
    "a\r\nX: y",
    "a\n",
    "a\x00",
    " a",
    "a ",
    "a&b",
    "a:b",
    "a@b",
    "é",
    "\u2025",
    "\uff0e\uff0e",
    "\u202e",
    "a" * 129,
]
TAG_KEYS = {"50%", "a#b", "a;b", "a&b", "a:b", "a@b", "é", "\u2025", "\uff0e\uff0e", "\u202e"}
"""Of the bad ids those that CBR allows as keys of tags: one encoded segment each."""
ids = (
    st.sampled_from(BAD)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True)
)

by_rpc = {"ids": lambda b: b.rpc}


def good(segment):
    return next(iter(segment.words)) if segment.words else "id-1"


def request_with(binding, **given_values):
    return binding.request_type(**({s.variable: good(s) for s in binding.segments} | given_values))


def target(binding, request):
    """The path, or None for a proper refusal that names the field."""
    try:
        return binding.target(request, PROJECT)
    except GatewayError as error:
        assert reason_name(error.reason) == "FIELD_INVALID"  # noqa: PT017 - a property over both ends
        assert error.violations[0].subject in {s.variable for s in binding.segments}  # noqa: PT017
        return None


def template(binding):
    """What the path may look like: literals as declared, one safe segment for each variable."""
    pieces = re.split(r"\{[a-z_]+\}", binding.path.replace("{project_id}", PROJECT))
    return re.compile(r"[A-Za-z0-9._~%-]+".join(re.escape(piece) for piece in pieces))


def assert_safe(binding, path):
    assert path.isascii()
    assert template(binding).fullmatch(path)
    assert path.count("/") == binding.path.count("/")
    for segment, declared in zip(path.split("/")[1:], binding.path.split("/")[1:], strict=True):
        plain = unquote(segment)
        assert plain not in {"", ".", ".."}
        assert unquote(plain) == plain, "decoding twice would change it"
        assert not set(plain) & set("/\\=\r\n\t\x00")
        assert declared == "{key}" or not set(plain) & set("?#;&@: ")
    assert urlsplit(f"https://cbr.example{path}").path == path


@pytest.mark.parametrize("binding", WITH_IDS, **by_rpc)
@given(data=st.data())
@settings(max_examples=25)
def test_an_id_is_one_safe_segment_or_refused(data, binding):
    strings = [s.variable for s in binding.segments if not s.words]
    request = request_with(binding, **{name: data.draw(ids, label=name) for name in strings})
    path = target(binding, request)
    if path is not None:
        assert_safe(binding, path)


@pytest.mark.parametrize("binding", WITH_IDS, **by_rpc)
def test_each_bad_id_is_refused_in_each_place(binding):
    places = [segment.variable for segment in binding.segments if not segment.words]
    for place, bad in itertools.product(places, BAD):
        path = target(binding, request_with(binding, **{place: bad}))
        tag_key = binding.rpc == "VaultService/DeleteVaultTag" and place == "key"
        if tag_key and bad in TAG_KEYS:
            assert_safe(binding, path)
            assert path.endswith(f"/tags/{quote(bad, safe='')}")
        else:
            assert path is None, (place, bad)


@pytest.mark.parametrize("binding", WITH_IDS, **by_rpc)
def test_good_ids_are_sent_as_they_are(binding):
    path = target(binding, request_with(binding))
    assert path is not None
    assert_safe(binding, path)


@pytest.mark.parametrize("number", [0, 1, 99, -1, 2**31 - 1])
@pytest.mark.parametrize(
    "binding", [b for b in WITH_IDS if any(s.words for s in b.segments)], **by_rpc
)
def test_an_enum_without_a_word_is_refused(binding, number):
    (segment,) = (s for s in binding.segments if s.words)
    assert target(binding, request_with(binding, **{segment.variable: number})) is None


def test_no_id_reaches_another_declared_call():
    """`PUT /vaults/batch-update` changes every vault: as the id of one vault it must be refused."""
    for binding in WITH_IDS:
        for other in BINDINGS:
            if (
                other.method == binding.method
                and other is not binding
                and len(other.path.split("/")) == len(binding.path.split("/"))
            ):
                assert_apart(binding, other)
    assert (
        target(
            BY_RPC["VaultService/UpdateVault"],
            request_with(BY_RPC["VaultService/UpdateVault"], vault_id="batch-update"),
        )
        is None
    )
    assert (
        target(
            BY_RPC["VaultService/GetVault"],
            request_with(BY_RPC["VaultService/GetVault"], vault_id="summary"),
        )
        is None
    )
    tag = request_with(BY_RPC["VaultService/DeleteVaultTag"], key="action")
    assert target(BY_RPC["VaultService/DeleteVaultTag"], tag), (
        "a tag may be called action: no other DELETE is"
    )


def assert_apart(binding, other):
    """Fills the variables with the literals that the other path has in their place."""
    fields = {s.key: s.variable for s in binding.segments}
    found = {}
    for mine, theirs in zip(binding.path.split("/"), other.path.split("/"), strict=True):
        if mine.startswith("{") and not theirs.startswith("{") and mine != "{project_id}":
            found[fields[mine[1:-1]]] = theirs
    words = {s.variable for s in binding.segments if s.words}
    if found and not found.keys() & words:
        path = target(binding, request_with(binding, **found))
        assert path is None or not template(other).fullmatch(path)


QUERY = re.compile(
    r"(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+=(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})*(?:&(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+=(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})*)*"
)


@pytest.mark.parametrize("binding", WITH_QUERY, **by_rpc)
@given(data=st.data())
@settings(max_examples=15)
def test_a_filter_never_leaves_its_place_in_the_query(data, binding):
    request = data.draw(messages(binding.descriptor.input_type, hostile=True))
    for segment in binding.segments:
        setattr(request, segment.variable, good(segment))
    assert_query_safe(binding, request)


def assert_query_safe(binding, request):
    try:
        url = http_request(binding, request, ACCOUNT, binding.members(request)).url
    except GatewayError as error:
        assert reason_name(error.reason) == "FIELD_INVALID"  # noqa: PT017 - a property over both ends
        return
    path, mark, query = url.partition("?")
    assert path == ACCOUNT.endpoint + binding.target(request, PROJECT)
    assert QUERY.fullmatch(query) if mark else query == ""
    assert parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)) == query_pairs(
        binding.members(request)
    )


@given(name=st.text(max_size=20), marker=st.lists(st.text(max_size=8), max_size=3))
@example(name="a\r\nHost: evil", marker=["a#b", " ", "a&b=c", "+"])
def test_names_and_lists_of_a_list_call_are_encoded(name, marker):
    binding = BY_RPC["VaultService/ListVaults"]
    name_field = binding.descriptor.input_type.fields_by_name["name"]
    assert name_field.type == FieldDescriptor.TYPE_STRING
    encodable = all(not 0xD800 <= ord(c) <= 0xDFFF for c in name + "".join(marker))
    if encodable:
        assert_query_safe(binding, binding.request_type(name=name, ids=marker))

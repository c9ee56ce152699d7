"""Reading a change back: what the read does not show is never taken for done.

Every field of every request is classified here.
"""

import pytest
from cbrgateway.v1 import options_pb2
from google.protobuf import json_format

from gateway.errors import GatewayError, reason_name
from gateway.operations import load_catalog
from gateway.upstream import read_back, wire
from gateway.upstream.declaration import RetryClass

CATALOG = load_catalog()
CHANGES = {
    binding.rpc: binding
    for binding in CATALOG
    if binding.retry_class is RetryClass.CONVERGE and not binding.custom
}
UNKNOWN = "OUTCOME_UNKNOWN"


def leaves(descriptor, prefix=""):
    """Field -> its path, of every field below that holds a value of its own."""
    for fd in descriptor.fields:
        if fd.name in wire.GATEWAY_FIELDS:
            continue
        if fd.message_type is not None:
            yield from leaves(fd.message_type, f"{prefix}{fd.name}.")
        else:
            yield f"{prefix}{fd.name}", fd


def asked(rpc):
    """The fields of a request that are not in the path of its call, which the read has in its
    own.
    """
    binding = CHANGES[rpc]
    own = {segment.variable for segment in binding.segments}
    return {path: fd for path, fd in leaves(binding.descriptor.input_type) if path not in own}


def ids(binding):
    return {segment.variable: "v" for segment in binding.segments}


def look(rpc, request, answer):
    """What reading back comes to: the response as JSON, None, or UNKNOWN."""
    binding = CHANGES[rpc]
    read = CATALOG[binding.read_back]
    message = json_format.ParseDict(ids(binding) | request, binding.request_type())
    main = "agent_id" if "agent" in answer else "id"
    answer = {
        name: {main: "v"} | value if isinstance(value, dict) else value
        for name, value in answer.items()
    }
    try:
        found = read_back.settled(binding, read, message, read.response(answer))
    except GatewayError as error:
        return reason_name(error.reason)
    return (
        None
        if found is None
        else json_format.MessageToDict(found, preserving_proto_field_name=True)
    )


# Changes that send the object itself
# -------------------------------------------------------------------------------------------------

OBJECTS = {
    "AgentService/UpdateAgent",
    "BackupService/UpdateBackup",
    "OrganizationPolicyService/UpdateOrganizationPolicy",
}
OBJECTS |= {
    "BackupShareService/UpdateBackupMember",
    "PolicyService/UpdatePolicy",
    "VaultService/UpdateVault",
}


def samples(fd):
    """Values of a field in proto JSON; zero as well where it is sent."""
    if wire.is_null(fd):
        return [None]
    if fd.enum_type is not None:
        known = [value.name for value in fd.enum_type.values if value.number > wire.OTHER]
        return known[:2]
    plain = {fd.TYPE_STRING: ["a", "b", ""], fd.TYPE_BOOL: [True, False], fd.TYPE_INT32: [7, 8, 0]}[
        fd.type
    ]
    if fd.is_repeated:
        return [[value] for value in plain[:2]]
    return plain if fd.has_presence else [value for value in plain if value]


def request_with(rpc, path, value):
    """A request that sets this one field; a message that is repeated occurs once."""
    inside, descriptor = {}, CHANGES[rpc].descriptor.input_type
    top, here = inside, inside
    *outer, last = path.split(".")
    for name in outer:
        fd = descriptor.fields_by_name[name]
        nested = {}
        here[name] = [nested] if fd.is_repeated else nested
        here, descriptor = nested, fd.message_type
    here[last] = value
    return top


def shown(rpc, request):
    """An answer of the read in which the request is in force, and one in which the object has an id
    alone.
    """
    binding = CHANGES[rpc]
    members = binding.members(json_format.ParseDict(request, binding.request_type()))
    if rpc == "BackupShareService/UpdateBackupMember":
        return {"member": {"id": "v"} | members}, {"member": {"id": "v"}}
    ((name, value),) = members.items()
    return {name: {"id": "v"} | value}, {name: {"id": "v"}}


def object_fields():
    for rpc in sorted(OBJECTS):
        # What only CBR sets is not sent.
        sent = {
            path: fd
            for path, fd in asked(rpc).items()
            if not fd.GetOptions().Extensions[options_pb2.answer_only]
        }
        for path, fd in sent.items():
            for value in samples(fd):
                yield rpc, path, fd, value


FIELDS = list(object_fields())


@pytest.mark.parametrize("changing", sorted({rpc for rpc, *_ in FIELDS}))
def test_a_field_of_an_object_is_in_force_only_where_it_is_shown(changing):
    for rpc, path, fd, value in (each for each in FIELDS if each[0] == changing):
        request = request_with(rpc, path, value)
        in_force, bare = shown(rpc, request)
        assert isinstance(look(rpc, request, in_force), dict), (path, value)
        for other in samples(fd):
            if other != value:
                others = shown(rpc, request_with(rpc, path, other))[0]
                assert look(rpc, request, others) is None, (path, value, other)
        # Zero and absent are one value where the field of the read has no presence.
        if value or presence(rpc, path):
            assert look(rpc, request, bare) is None, (path, value)


def presence(rpc, path):
    """Whether the read tells a zero in this field from an object that is bare."""
    if path.count(".") > 1:
        return True  # The message around it is missing.
    name = "member" if rpc == "BackupShareService/UpdateBackupMember" else path.partition(".")[0]
    seen = CATALOG[CHANGES[rpc].read_back].descriptor.output_type.fields_by_name[name].message_type
    return {wire.json_key(fd): fd for fd in seen.fields}[
        wire.json_key(asked(rpc)[path])
    ].has_presence


@pytest.mark.parametrize("rpc", sorted(OBJECTS - {"BackupShareService/UpdateBackupMember"}))
def test_a_change_of_nothing_is_not_in_force(rpc):
    (name,) = {path.partition(".")[0] for path in asked(rpc)}
    assert look(rpc, {name: {}}, {name: {"id": "v", "agent_id": "v"}}) is None
    assert look(rpc, {name: {}}, {name: {}}) is None


# Changes that say it in another way
# --------------------------------------------------------------------------------------------------

SERVER = {"id": "r", "type": "OS::Nova::Server"}
HELD = SERVER | {"protect_status": "available"}


def vault(*resources):
    return {"vault": {"id": "v", "resources": list(resources)}}


def policies(*rows):
    return {"policies": list(rows), "count": len(rows)}


def policy(name, destination=None, at="v"):
    return {
        "id": name,
        "associated_vaults": [{"vault_id": at, "destination_vault_id": destination}],
    }


def vaults(*rows, count=None):
    return {"vaults": list(rows), "count": len(rows) if count is None else count}


def paths(*names):
    return {
        "agent": {
            "agent_id": "a",
            "paths": [{"dir_path": name, "status": "available"} for name in names],
        }
    }


def extra(**selection):
    return {"resources": [SERVER | {"extra_info": selection}]}


def held(**selection):
    return vault(HELD | {"extra_info": selection})


DISKS = {"include_volumes": [{"id": "d", "os_version": "linux"}]}
DONE = "done"
ADD, TAGS = "VaultService/AddVaultResources", "VaultService/BatchUpdateVaultTags"
ASSOCIATE, ALERTS = "VaultService/AssociateVaultPolicy", "VaultService/UpdateAllVaultAlerts"
PATHS = "AgentService/AddAgentPaths"
EXCLUDED = {
    "add_paths": ["/etc"],
    "exclude_paths": [{"path_name": "/etc", "exclude_path_names": ["/etc/ssl"]}],
}

# RPC -> the field under test -> request, and answers of the read with what each comes to.
CASES = {
    ADD: {
        "resources.id": [
            ({"resources": [SERVER]}, vault(HELD), DONE),
            ({"resources": [SERVER]}, vault(HELD | {"id": "other"}), None),
            ({"resources": [SERVER]}, vault(SERVER | {"protect_status": "removing"}), None),
            ({"resources": [SERVER]}, vault(), None),
        ],
        "resources.type": [
            ({"resources": [SERVER]}, vault(HELD | {"type": "OS::Cinder::Volume"}), UNKNOWN),
            ({"resources": [SERVER]}, vault({"id": "r"}), UNKNOWN),
        ],
        "resources.name": [
            ({"resources": [SERVER | {"name": "n"}]}, vault(HELD), UNKNOWN),
            ({"resources": [SERVER | {"name": "n"}]}, vault(HELD | {"name": "n"}), DONE),
        ],
        "resources.extra_info.exclude_volumes": [
            (extra(exclude_volumes=["d"]), held(exclude_volumes=["d"]), DONE),
            (extra(exclude_volumes=["d"]), held(exclude_volumes=["e"]), None),
            (extra(exclude_volumes=["d"]), held(), None),
            (extra(exclude_volumes=["d"]), vault(HELD), UNKNOWN),
        ],
        "resources.extra_info.include_volumes.id": [
            (extra(**DISKS), held(**DISKS), DONE),
            (extra(**DISKS), held(include_volumes=[{"id": "e", "os_version": "linux"}]), None),
            (extra(**DISKS), held(), None),
            (extra(**DISKS), vault(HELD), UNKNOWN),
            (extra(), held(**DISKS), None),
            (extra(), held(), DONE),
        ],
        "resources.extra_info.include_volumes.os_version": [
            (extra(**DISKS), held(include_volumes=[{"id": "d"}]), UNKNOWN)
        ],
    },
    "VaultService/RemoveVaultResources": {
        "resource_ids": [
            ({"resource_ids": ["r"]}, vault(HELD), None),
            ({"resource_ids": ["r"]}, vault(SERVER | {"protect_status": "removing"}), DONE),
            ({"resource_ids": ["r"]}, vault(), DONE),
            ({"resource_ids": ["s", "r"]}, vault(HELD), None),
        ],
    },
    "VaultService/SetVaultResources": {
        "resource_ids": [
            (
                {"resource_ids": ["r", "s"], "action": "AUTO_PROTECT_ACTION_SUSPEND"},
                vault(HELD | {"auto_protect": False}),
                None,
            ),
            ({"resource_ids": ["r"], "action": "AUTO_PROTECT_ACTION_SUSPEND"}, vault(HELD), None),
        ],
        "action": [
            (
                {"resource_ids": ["r"], "action": f"AUTO_PROTECT_ACTION_{word}"},
                vault(HELD | {"auto_protect": now}),
                DONE if now is wanted else None,
            )
            for word, wanted in (("SUSPEND", False), ("UNSUSPEND", True))
            for now in (True, False)
        ],
    },
    ASSOCIATE: {
        "policy_id": [
            ({"policy_id": "p"}, policies(policy("p")), DONE),
            ({"policy_id": "p"}, policies(policy("q")), None),
        ],
        "add_policy_ids": [
            ({"add_policy_ids": ["p", "q"]}, policies(policy("p"), policy("q")), UNKNOWN),
            ({"add_policy_ids": ["p", "q"]}, policies(policy("p")), None),
        ],
        "destination_vault_id": [
            ({"policy_id": "p", "destination_vault_id": "new"}, policies(policy("p", "new")), DONE),
            ({"policy_id": "p", "destination_vault_id": "new"}, policies(policy("p", "old")), None),
            (
                {"policy_id": "p", "destination_vault_id": "new"},
                policies(policy("p", "new", at="w")),
                None,
            ),
            ({"policy_id": "p", "destination_vault_id": "new"}, policies({"id": "p"}), None),
        ],
    },
    "VaultService/DissociateVaultPolicy": {
        "policy_id": [
            ({"policy_id": "p"}, policies(policy("p")), None),
            ({"policy_id": "p"}, policies(policy("q")), DONE),
            ({"policy_id": "p"}, policies(), DONE),
        ],
    },
    ALERTS: {
        "vault.smn_notify": [
            ({"vault": {"smn_notify": False}}, vaults({"id": "v", "smn_notify": False}), DONE),
            (
                {"vault": {"smn_notify": False}},
                vaults({"id": "v", "smn_notify": False}, {"id": "w"}),
                None,
            ),
            (
                {"vault": {"smn_notify": False}},
                vaults({"id": "v", "smn_notify": False}, {"id": "w", "smn_notify": True}),
                None,
            ),
            (
                {"vault": {"smn_notify": False}},
                vaults({"id": "v", "smn_notify": False}, count=2500),
                None,
            ),
            (
                {"vault": {"smn_notify": False}},
                vaults({"id": "v", "smn_notify": False}, count=0),
                None,
            ),
            ({"vault": {"smn_notify": False}}, vaults(), None),
        ],
        "vault.threshold_percent": [
            ({"vault": {"threshold_percent": 85}}, vaults({"id": "v", "threshold": 85}), DONE),
            ({"vault": {"threshold_percent": 85}}, vaults({"id": "v", "threshold": 80}), None),
            ({"vault": {"threshold_percent": 85}}, vaults({"id": "v"}), None),
        ],
    },
    "VaultService/CreateVaultTag": {
        "tag.key": [
            ({"tag": {"key": "k", "value": "a"}}, {"tags": [{"key": "j", "value": "a"}]}, None)
        ],
        "tag.value": [
            ({"tag": {"key": "k", "value": "a"}}, {"tags": [{"key": "k", "value": "a"}]}, DONE),
            ({"tag": {"key": "k", "value": "a"}}, {"tags": [{"key": "k", "value": "b"}]}, None),
            ({"tag": {"key": "k"}}, {"tags": [{"key": "k", "value": "b"}]}, None),
        ],
    },
    TAGS: {
        "action": [
            (
                {"action": "TAG_ACTION_CREATE", "tags": [{"key": "k", "value": "a"}]},
                {"tags": [{"key": "k", "value": "a"}]},
                DONE,
            ),
            (
                {"action": "TAG_ACTION_DELETE", "tags": [{"key": "k", "value": "a"}]},
                {"tags": [{"key": "k", "value": "a"}]},
                None,
            ),
            ({"action": "TAG_ACTION_DELETE", "tags": [{"key": "k"}]}, {"tags": []}, DONE),
            ({"action": "TAG_ACTION_CREATE"}, {"tags": []}, None),
        ],
        "tags.key": [
            (
                {"action": "TAG_ACTION_CREATE", "tags": [{"key": "k", "value": "a"}]},
                {"tags": [{"key": "j", "value": "a"}]},
                None,
            )
        ],
        "tags.value": [
            (
                {"action": "TAG_ACTION_CREATE", "tags": [{"key": "k", "value": "a"}]},
                {"tags": [{"key": "k", "value": "b"}]},
                None,
            )
        ],
        "system_tags.key": [
            (
                {"action": "TAG_ACTION_CREATE", "system_tags": [{"key": "k", "value": "a"}]},
                {"tags": [{"key": "k", "value": "a"}]},
                None,
            ),
            (
                {"action": "TAG_ACTION_DELETE", "system_tags": [{"key": "k"}]},
                {"tags": [], "sys_tags": [{"key": "k", "value": "a"}]},
                None,
            ),
        ],
        "system_tags.value": [
            (
                {"action": "TAG_ACTION_CREATE", "system_tags": [{"key": "k", "value": "a"}]},
                {"tags": [], "sys_tags": [{"key": "k", "value": "a"}]},
                DONE,
            ),
            (
                {"action": "TAG_ACTION_CREATE", "system_tags": [{"key": "k", "value": "a"}]},
                {"tags": [], "sys_tags": [{"key": "k", "value": "b"}]},
                None,
            ),
        ],
    },
    PATHS: {
        "add_paths": [
            ({"add_paths": ["/etc"]}, paths("/etc"), UNKNOWN),
            ({"add_paths": ["/etc"]}, paths("/var"), None),
        ],
        "exclude_paths.path_name": [(EXCLUDED, paths("/etc"), UNKNOWN), (EXCLUDED, paths(), None)],
        "exclude_paths.exclude_path_names": [(EXCLUDED, paths("/etc"), UNKNOWN)],
    },
    "AgentService/RemoveAgentPaths": {
        "remove_paths": [
            ({"remove_paths": ["/etc"]}, paths("/etc"), None),
            ({"remove_paths": ["/etc"]}, paths("/var"), UNKNOWN),
        ],
    },
}


@pytest.mark.parametrize(
    ("rpc", "field"), [(rpc, field) for rpc, fields in CASES.items() for field in fields], ids=str
)
def test_a_field_is_in_force_only_where_it_is_shown(rpc, field):
    outcomes = set()
    for request, answer, expected in CASES[rpc][field]:
        found = look(rpc, request, answer)
        outcomes.add(expected)
        assert (DONE if isinstance(found, dict) else found) == expected, (request, answer)
    assert outcomes - {DONE}, "no case in which the read does not show the field"


@pytest.mark.parametrize("rpc", sorted(CASES))
def test_an_empty_answer_shows_nothing_that_was_added(rpc):
    read = CATALOG[CHANGES[rpc].read_back]
    (main,) = read.response_plan.required
    (key,) = (key for key, reader in read.response_plan.readers.items() if reader.name == main)
    empty = {key: [] if read.response_plan.readers[key].many else {}}
    removing = {
        "VaultService/RemoveVaultResources",
        "VaultService/DissociateVaultPolicy",
        "AgentService/RemoveAgentPaths",
    }
    for fields in CASES[rpc].values():
        for request, _, _ in fields:
            if rpc not in removing and request.get("action") != "TAG_ACTION_DELETE":
                assert look(rpc, request, empty) is None


def test_every_field_of_every_change_that_is_read_back_is_classified():
    assert OBJECTS | set(CASES) == set(CHANGES)
    assert not OBJECTS & set(CASES)
    for rpc, fields in CASES.items():
        assert set(fields) == set(asked(rpc)), rpc


def test_the_response_holds_what_the_read_showed():
    response = look(
        "VaultService/UpdateVault",
        {"vault": {"name": "n"}},
        {"vault": {"id": "v", "name": "n", "supplier": "s"}},
    )
    assert response == {"vault": {"id": "v", "name": "n", "supplier": "s"}}
    assert look(ADD, {"resources": [SERVER]}, vault(HELD)) == {"added_resource_ids": ["r"]}
    associated = look(
        ASSOCIATE, {"policy_id": "p", "destination_vault_id": "new"}, policies(policy("p", "new"))
    )
    assert associated == {
        "associate_policy": {"vault_id": "v", "policy_id": "p", "destination_vault_id": "new"}
    }

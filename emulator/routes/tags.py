"""Tags of vaults, and the search by tags. The paths say `/vault/`, in the singular."""

from collections import defaultdict

from emulator import fields
from emulator.errors import service_error
from emulator.fields import JsonObject, Need
from emulator.model import OBJECT_TYPES, Vault
from emulator.routes.vaults import own_vaults
from emulator.routing import Call, Route, visible
from emulator.views import tags_view, vault_view

MAX_TAGS = 20


def _vault(call: Call) -> Vault:
    return call.world.vault(call.project_id, call.params["vault_id"])


def _sys_tags(vault: Vault) -> list[JsonObject]:
    return [{"key": "_sys_enterprise_project_id", "value": vault.enterprise_project_id}]


def _put(vault: Vault, tags: list[JsonObject]) -> None:
    merged = vault.tags | {tag["key"]: tag.get("value", "") for tag in tags}
    if len(merged) > MAX_TAGS:
        raise service_error(6600, f"A vault takes {MAX_TAGS} tags.")
    vault.tags = merged


def show_vault_tag(call: Call) -> object:
    """Answer the tags of one vault."""
    vault = _vault(call)
    return {"tags": tags_view(vault), "sys_tags": _sys_tags(vault)}


def create_vault_tags(call: Call) -> None:
    """Set one tag; an existing key gets the new value."""
    _put(_vault(call), [call.body["tag"]])


def batch_tags(call: Call) -> None:
    """Set or remove up to ten tags; removing a missing one is no error."""
    vault, tags = _vault(call), call.body.get("tags", [])
    if call.body["action"] == "create":
        _put(vault, tags)
        return
    for tag in tags:
        vault.tags.pop(tag["key"], None)


def delete_vault_tag(call: Call) -> None:
    """Remove one tag; 6601 if it is not there."""
    vault, key = _vault(call), call.params["key"]
    if key not in vault.tags:
        raise service_error(6601, "The tag key does not exist.")
    del vault.tags[key]


def show_vault_project_tag(call: Call) -> object:
    """Answer every key used in the project with its values."""
    values: defaultdict[str, list[str]] = defaultdict(list)
    for vault in own_vaults(call):
        for key, value in vault.tags.items():
            if value is not None and value not in values[key]:
                values[key].append(value)
    return {"tags": [{"key": key, "values": each} for key, each in values.items()]}


def _has(vault: Vault, rule: JsonObject) -> bool:
    """Return whether the vault has the key with one of the values; no values means any value."""
    return rule["key"] in vault.tags and (
        not rule["values"] or vault.tags[rule["key"]] in rule["values"]
    )


def _matches(vault: Vault, body: JsonObject) -> bool:
    for match in body.get("matches", []):
        wanted = match["value"]
        if wanted not in vault.name or (not wanted and vault.name):
            return False
    if body.get("cloud_type", vault.cloud_type) != vault.cloud_type:
        return False
    if body.get("object_type", vault.object_type) != vault.object_type:
        return False
    if body.get("without_any_tag"):
        return not vault.tags
    return (
        all(_has(vault, rule) for rule in body.get("tags", []))
        and (not body.get("tags_any") or any(_has(vault, rule) for rule in body["tags_any"]))
        and not (body.get("not_tags") and all(_has(vault, rule) for rule in body["not_tags"]))
        and not any(_has(vault, rule) for rule in body.get("not_tags_any", []))
        and all(vault.enterprise_project_id in rule["values"] for rule in body.get("sys_tags", []))
    )


def show_resource_instances(call: Call) -> object:
    """Answer the vaults that match, or only how many."""
    body = call.body
    found = call.world.paging.ordered(
        [vault for vault in visible(call, own_vaults(call)) if _matches(vault, body)]
    )
    if body["action"] == "count":
        return {"total_count": len(found)}
    offset, limit = int(body.get("offset", "0")), int(body.get("limit", "1000"))
    shown, count = call.world.paging.cut(found, limit, offset)
    return {
        **({} if count is None else {"total_count": count}),
        "resources": [
            {
                "resource_id": vault.id,
                "resource_name": vault.name,
                "resource_detail": {"vault": vault_view(call.world, vault)},
                "tags": tags_view(vault),
                "sys_tags": _sys_tags(vault),
            }
            for vault in shown
        ],
    }


RULE = fields.record(
    key=Need(fields.text(1, 127)), values=Need(fields.many(fields.text(0, 255), 0, 10))
)
RULES = fields.many(RULE, 1, 10)
SEARCH_BODY = fields.record(
    without_any_tag=fields.boolean,
    tags=RULES,
    tags_any=RULES,
    not_tags=RULES,
    not_tags_any=RULES,
    sys_tags=fields.many(RULE),
    limit=fields.text(1, 4, r"[1-9]\d{0,2}|1000"),
    offset=fields.text(1, 9, r"\d+"),
    action=Need(fields.word("filter", "count")),
    matches=fields.many(
        fields.record(key=Need(fields.word("resource_name")), value=Need(fields.text(0, 255))), 0, 1
    ),
    cloud_type=fields.word("public", "hybrid"),
    object_type=fields.word(*OBJECT_TYPES),
)
BATCH_BODY = fields.record(
    tags=fields.many(fields.record(key=Need(fields.TAG_KEY), value=fields.TAG_VALUE), 1, 10),
    sys_tags=fields.many(fields.TAG),
    action=Need(fields.word("create", "delete")),
)
VAULT = "/v3/{project_id}/vault"

ROUTES = (
    Route(
        "ShowVaultResourceInstances",
        "POST",
        VAULT + "/resource_instances/action",
        show_resource_instances,
        body=SEARCH_BODY,
        mutates=False,
    ),
    Route("ShowVaultProjectTag", "GET", VAULT + "/tags", show_vault_project_tag),
    Route("ShowVaultTag", "GET", VAULT + "/{vault_id}/tags", show_vault_tag),
    Route(
        "CreateVaultTags",
        "POST",
        VAULT + "/{vault_id}/tags",
        create_vault_tags,
        204,
        body=fields.record(tag=Need(fields.TAG)),
    ),
    Route(
        "BatchCreateAndDeleteVaultTags",
        "POST",
        VAULT + "/{vault_id}/tags/action",
        batch_tags,
        204,
        body=BATCH_BODY,
    ),
    Route("DeleteVaultTag", "DELETE", VAULT + "/{vault_id}/tags/{key}", delete_vault_tag, 204),
)

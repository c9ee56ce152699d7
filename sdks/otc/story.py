"""Open Telekom Cloud's client, whose CBR is the same API: it finds the service in the catalog of
its token, and manages a vault.
"""

import os

import openstack
from otcextensions import sdk

connection = openstack.connect(
    auth_type="password",
    auth={
        "auth_url": f"{os.environ['ENDPOINT']}/v3",
        "username": os.environ["USER_NAME"],
        "password": os.environ["PASSWORD"],
        "user_domain_name": os.environ["DOMAIN"],
        "project_name": "cn-north-4",
    },
    region_name="cn-north-4",
    load_yaml_config=False,
    load_envvars=False,
)
sdk.register_single_service(connection, "cbr")
cbr = connection.cbr

server = os.environ["SERVER"]
billing = {
    "consistent_level": "crash_consistent",
    "object_type": "server",
    "protect_type": "backup",
    "size": 500,
}
vault = cbr.create_vault(
    name="otc", billing=billing, resources=[{"id": server, "type": "OS::Nova::Server"}]
)
assert [each.id for each in cbr.vaults()] == [vault.id]
assert cbr.update_vault(vault, name="renamed").name == "renamed"
assert cbr.find_vault("renamed").id == vault.id

trigger = {"properties": {"pattern": ["FREQ=WEEKLY;BYDAY=MO;BYHOUR=1;BYMINUTE=00"]}}
policy = cbr.create_policy(
    name="otc", operation_type="backup", operation_definition={"max_backups": 3}, trigger=trigger
)
cbr.bind_policy(vault, policy)
assert [each.id for each in cbr.policies()] == [policy.id]
cbr.unbind_policy(vault, policy)
cbr.delete_policy(policy)

checkpoint = cbr.create_checkpoint(vault_id=vault.id, parameters={"name": "nightly"})
cbr.wait_for_checkpoint(checkpoint, interval=0.1, wait=10)
backup = next(iter(cbr.backups(vault_id=vault.id)))
assert (backup.name, backup.status, backup.resource_id) == (
    "nightly_server-01",
    "available",
    server,
)
assert cbr.get_backup(backup.id).id == backup.id
tasks = list(cbr.tasks())
assert [each.operation_type for each in tasks] == ["backup"]
assert cbr.get_task(tasks[0].id).status == "success"
cbr.delete_backup(backup)
cbr.dissociate_resources(vault, [server])
second = cbr.create_vault(name="second", billing=billing, resources=[])
assert [each.id for each in cbr.vaults(limit=1)] == [second.id, vault.id]
cbr.delete_vault(second)
cbr.delete_vault(vault)
assert list(cbr.vaults()) == []

#!/usr/bin/env bash
# Guess:   `cbr.vaults(resource_ids=...)` of Open Telekom Cloud's Python client shows the vaults that hold a server, and `cbr.tasks(resource_id=...)` the tasks of
#          one, since CBR's API reference has both filters. A filter that the client does not know is an error.
# Happens: Neither is sent, neither is applied to what is answered, and nothing is said: all vaults and all tasks come out, as with any misspelt name. The
#          client knows the first one as `resources_ids` and sends it so, which is no name of the API; of tasks it sends no documented filter at all. What it
#          does filter by itself are members of the rows, such as `status`.
# Version: otcextensions 0.34.8, openstacksdk 4.22.0, Python 3.11
# Source:  running it; `_query_mapping` in otcextensions/sdk/cbr/v3/vault.py and task.py
# Advice:  Do not act on such a list (delete, restore) before its rows were checked: compare `vault.resources` or the task's resource yourself.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check otcextensions==0.34.8 openstacksdk==4.22.0

cat >look.py <<'PYTHON'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openstack
from otcextensions import sdk

VAULTS = [{"id": f"v{number}", "name": "main", "resources": [{"id": f"r{number}", "type": "OS::Nova::Server"}]} for number in (1, 2)]
TASKS = [{"id": f"t{number}", "status": status, "extra_info": {"resource": {"id": f"r{number}"}}} for number, status in ((1, "success"), (2, "failed"))]
asked = []


class Service(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        links = [{"rel": "self", "href": f"http://127.0.0.1:{self.server.server_port}/v3/"}]
        version = {"id": "v3.6", "status": "stable", "updated": "2016-04-04T00:00:00Z", "links": links}
        self.answer(200, {"version": version, "vaults": VAULTS, "operation_logs": TASKS, "count": 2})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        address = f"http://127.0.0.1:{self.server.server_port}/v3/p1"
        place = {"id": "e", "interface": "public", "region": "eu-de", "region_id": "eu-de", "url": address}
        catalog = [{"id": "c", "name": "cbr", "type": "cbr", "endpoints": [place]}]
        times = {"issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z"}
        user = {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}}
        project = {"id": "p1", "name": "eu-de", "domain": {"id": "d", "name": "d"}}
        self.answer(201, {"token": {"methods": ["password"], "user": user, "project": project, "roles": [], "catalog": catalog, **times}})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Subject-Token", "token")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
connection = openstack.connect(
    auth_type="password",
    auth={
        "auth_url": f"http://127.0.0.1:{server.server_port}/v3",
        "username": "u",
        "password": "p",
        "user_domain_name": "d",
        "project_name": "eu-de",
    },
    region_name="eu-de",
    load_yaml_config=False,
    load_envvars=False,
)
sdk.register_single_service(connection, "cbr")
changed = False
for name, filters, query, ids in (
    ("vaults", {"resource_ids": "r1"}, "", ["v1", "v2"]),
    ("vaults", {"resuorce_ids": "r1"}, "", ["v1", "v2"]),
    ("vaults", {"resources_ids": "r1"}, "?resources_ids=r1", ["v1", "v2"]),
    ("tasks", {"resource_id": "r1"}, "", ["t1", "t2"]),
    ("tasks", {"status": "failed"}, "", ["t2"]),
):
    rows = [row.id for row in getattr(connection.cbr, name)(**filters)]
    sent = asked[-1].removeprefix("/v3/p1/")
    print(f"{name}({filters}): sent {sent}, shows {rows}")
    changed |= (sent.partition("?")[2], rows) != (query[1:], ids)
if changed:
    print("CHANGED: this is not what the head of this script describes")
sys.exit(changed)
PYTHON

environment/bin/python look.py

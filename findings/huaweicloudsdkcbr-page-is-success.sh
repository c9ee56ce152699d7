#!/usr/bin/env bash
# Guess:   The vendor's Python SDK answers what CBR answered, or raises. A 200 that is no JSON, such as the login page or maintenance page of a proxy on the way, is
#          an error, as it is with the vendor's Go SDK.
# Happens: It is a success without members. `list_vault` answers no vaults (`vaults` is None, `count` is None), `create_vault` a vault that is None, and
#          `delete_vault` has deleted: no exception, no line in the log. So a job that lists and removes what is unknown, or only checks that nothing was
#          raised, takes a page for the truth; `for vault in answer.vaults or []` turns it into "nothing to do".
# Version: huaweicloudsdkcbr 3.1.219, huaweicloudsdkcore 3.1.219, Python 3.11
# Source:  running it; `deserialize` of huaweicloudsdkcore/client.py takes the text where it is no JSON, and the models fill nothing from a text; the type of the
#          content is not looked at
# Advice:  After each call look at a member that CBR always sends (`count` of a list, the id of what was made), and for DeleteVault read the vault again. Or register
#          a response handler with `HttpHandler().add_response_handler` that raises unless the content type is JSON.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check huaweicloudsdkcbr==3.1.219 huaweicloudsdkcore==3.1.219

cat >look.py <<'PYTHON'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from huaweicloudsdkcbr.v1 import CbrClient, CreateVaultRequest, DeleteVaultRequest, ListVaultRequest, VaultCreate, VaultCreateReq
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.http.http_handler import HttpHandler


class Proxy(BaseHTTPRequestHandler):
    def page(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"<html><body>Please log in to this network.</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = page

    def log_message(self, *_):
        pass


def only_json(response, **_):
    if response.headers.get("Content-Type", "").partition(";")[0] != "application/json":
        raise ValueError("the answer is no JSON")


def client(handler=None):
    builder = CbrClient.new_builder().with_endpoint(f"http://127.0.0.1:{proxy.server_port}")
    builder = builder.with_credentials(BasicCredentials("access-key", "secret-key", "0" * 32))
    return (builder.with_http_handler(handler) if handler else builder).build()


def outcome(call):
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=proxy.serve_forever, daemon=True).start()
plain = client()
create = CreateVaultRequest(body=VaultCreateReq(vault=VaultCreate(name="web")))
listed = outcome(lambda: (lambda answer: (answer.vaults, answer.count))(plain.list_vault(ListVaultRequest())))
made = outcome(lambda: plain.create_vault(create).vault)
deleted = outcome(lambda: plain.delete_vault(DeleteVaultRequest(vault_id="v")).status_code)
guarded = outcome(lambda: client(HttpHandler().add_response_handler(only_json)).list_vault(ListVaultRequest()))
print(f"list_vault: {listed}\ncreate_vault: {made}\ndelete_vault: {deleted}\nlist_vault with a handler that looks: {guarded}")
if (listed, made, deleted, guarded) != ((None, None), None, 200, "ValueError: the answer is no JSON"):
    print("CHANGED: this is not what the head of this script describes")
    sys.exit(1)
PYTHON

environment/bin/python look.py

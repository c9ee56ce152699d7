"""What holds for all tests."""

import os

# No test trusts an authority of this machine, and reading them all costs each start of a gateway a tenth of a second.
os.environ["SSL_CERT_FILE"] = os.devnull

"""Whether a gateway in the same container is alive: exit code 0 when it is. For the container's own
health check, which runs every few seconds: nothing is loaded but a socket. Run it by its path with
`python -IS`; the first argument is the admin port, 50053 where there is none.
"""

import socket
import sys

_TIMEOUT_S = 2.0


def alive(port: int) -> bool:
    """Whether `/livez` of the admin port on this machine answers with 200 in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as link:
            link.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            return link.recv(16).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not alive(int(sys.argv[1]) if sys.argv[1:] else 50053))

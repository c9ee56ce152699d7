"""`python -m gateway` is `cbr-gateway`."""

from gateway.cli import main

main(prog_name="cbr-gateway")

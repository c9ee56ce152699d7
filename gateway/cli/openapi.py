"""`cbr-gateway openapi`."""

import json

import click

from gateway.cli.options import reported


@click.command()
def openapi() -> None:
    """Print the API as JSON over HTTP: an OpenAPI 3.1 document."""
    from gateway.http.openapi import document
    from gateway.operations import load_catalog

    with reported():
        catalog = load_catalog()
    click.echo(json.dumps(document(catalog), indent=1, ensure_ascii=False))

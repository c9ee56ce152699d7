"""`cbr-gateway keys`."""

import click

from gateway.cli.grouping import Group


@click.group(cls=Group)
def keys() -> None:
    """API keys of callers."""


@keys.command("new")
@click.option(
    "--id",
    "key_id",
    default="new-key",
    show_default=True,
    help="Name of the key in the configuration.",
)
def keys_new(key_id: str) -> None:
    """Make an API key. It is shown once; the configuration keeps its hash only."""
    from pydantic import TypeAdapter, ValidationError

    from gateway.tenants import Identifier, new_api_key

    try:
        TypeAdapter(Identifier).validate_python(key_id)
    except ValidationError as failure:
        raise click.BadParameter(
            f"{key_id!r} {failure.errors()[0]['ctx']['error']}", param_hint="--id"
        ) from failure
    key, sha256 = new_api_key()
    click.echo(f"# The key, for the caller alone: metadata `authorization: Bearer <key>`.\n{key}\n")
    click.echo(f'# Lines for the `api_keys` of its tenant:\n- id: "{key_id}"\n  sha256: "{sha256}"')

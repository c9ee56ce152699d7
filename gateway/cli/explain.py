"""`cbr-gateway bindings` and `cbr-gateway explain`."""

import json

import click

from gateway.cli.options import reported


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def bindings(as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """List every RPC with the CBR call it makes."""
    from gateway.cli import explanation
    from gateway.operations import load_catalog

    with reported():
        catalog = load_catalog()
    if as_json:
        click.echo(json.dumps([explanation.row(binding) for binding in catalog], indent=2))
    else:
        click.echo("\n".join(explanation.table(catalog)))


@click.command()
@click.argument("rpc")
def explain(rpc: str) -> None:
    """Explain one RPC: what it does and calls, its fields, rules and errors."""
    from gateway.cli import explanation
    from gateway.operations import load_catalog

    with reported():
        catalog = load_catalog()
    match explanation.found(rpc, catalog.bindings):
        case [binding]:
            click.echo("\n".join(explanation.explained(binding)))
        case []:
            near = explanation.near(rpc, catalog.bindings)
            hint = (
                f"Did you mean {' or '.join(near)}?"
                if near
                else "`cbr-gateway bindings` lists them all."
            )
            raise click.BadParameter(f"no RPC {rpc!r}. {hint}", param_hint="RPC")
        case several:
            raise click.BadParameter(
                f"{rpc!r} may be {' or '.join(b.rpc for b in several)}", param_hint="RPC"
            )

"""`cbr-gateway healthcheck`."""

import click

from gateway.cli.options import Seconds


@click.command()
@click.option(
    "--address",
    default="127.0.0.1:50052",
    show_default=True,
    metavar="HOST:PORT",
    help="Address of the health service.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(0, 3600, min_open=True),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for the answer.",
)
def healthcheck(address: str, timeout_s: float) -> None:
    """Ask a running gateway whether it serves: exit code 0 when it does. For container probes."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    # The proxy variables of a container are not meant for a probe of the container itself.
    with grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=timeout_s
            )
        except grpc.RpcError as error:
            raise click.ClickException(f"{address}: {error.code().name}") from error
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    click.echo(f"{address}: {status}")
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise click.exceptions.Exit(1)

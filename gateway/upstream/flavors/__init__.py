"""The clouds of the family: those that run the API of CBR, each under its own name and with less or
more of it.

What is different about a cloud is data, one file here for each (`otc.toml`); docs/clouds.md says
what another one takes.
"""

import tomllib
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from typing import Final, Literal

import msgspec
from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError
from gateway.upstream.declaration import Binding


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What its manual allows."""

    max_vault_tags: int
    min_vault_size_gib: int
    max_vault_size_gib: int


class Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be given to what is created.

    Markers of the gateway are tags of vaults and descriptions of checkpoints.
    """

    tags: bool
    descriptions: bool
    charging_modes: tuple[str, ...]


class Absent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to say of some of the operations that a cloud does not have, by the vendor's names.

    `why`: ends the sentence that begins with the cloud's name.
    """

    why: str
    operations: tuple[str, ...]


class Flavor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One cloud. The endpoints have the region in `{region}`.

    `signing`: `access` signs with the secret key itself, `scope` with one that is derived from it
    for a day, a region and a service.
    """

    name: str
    endpoint: str
    iam_endpoint: str
    signing: Literal["access", "scope"]
    limits: Limits
    create: Create
    published: tuple[str, ...] | None = None
    """The operations that it has, by the vendor's names; None: all."""
    absent: tuple[Absent, ...] = ()
    key: str = ""
    """As the configuration names it."""

    @cached_property
    def _there(self) -> frozenset[str]:
        return frozenset(self.published or ())

    @cached_property
    def _why(self) -> Mapping[str, str]:
        return {operation: group.why for group in self.absent for operation in group.operations}

    def check(self, binding: Binding) -> None:
        """Raises CLOUD_UNSUPPORTED for an RPC whose operation the cloud does not have.

        RPCs of the gateway's own are there always.
        """
        operation = binding.operation
        if self.published is None or not operation or operation in self._there:
            return
        why = self._why.get(operation, "does not publish this operation")
        text = (
            f"{self.name} {why}: it does not have {operation}, which {binding.rpc} would"
            " call. Nothing was sent."
        )
        facts = {"flavor": self.key, "operation": operation}
        raise GatewayError(
            errors_pb2.ERROR_REASON_CLOUD_UNSUPPORTED,
            f"{text} FeatureService/GetCloudFeatures tells what there is.",
            metadata=facts,
        )


def _read(key: str, text: str) -> Flavor:
    return msgspec.convert({**tomllib.loads(text), "key": key}, Flavor)


FLAVORS: Final[Mapping[str, Flavor]] = {
    file.name.removesuffix(".toml"): _read(
        file.name.removesuffix(".toml"), file.read_text(encoding="utf-8")
    )
    for file in sorted(resources.files(__name__).iterdir(), key=lambda file: file.name)
    if file.name.endswith(".toml")
}
"""By the name of the file."""
HUAWEI: Final = FLAVORS["huawei"]

"""What one call to the cloud is aimed at, from the widest to the narrowest."""

from typing import NamedTuple


class Target(NamedTuple):
    """`tenant`: on whose behalf.

    `operation`: the vendor's name. `object`: the ids that the call names, empty where it names
    none.
    """

    endpoint: str
    tenant: str
    project: str
    operation: str
    object: str = ""

"""What one call to the cloud is aimed at, from the widest to the narrowest."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`tenant`: on whose behalf. `operation`: the vendor's name. `object`: the ids that the call names, empty where it names none."""

    endpoint: str
    tenant: str
    project: str
    operation: str
    object: str = ""

"""`cbrctl report`: the RPCs that report, under the names that people look for."""

from typing import Final

from cbrctl import index
from cbrctl.grouping import Group
from cbrctl.verbs import command

_REPORTS: Final = {
    "protection": "ProtectionService/GenerateReport",
    "summary": "ProtectionService/GetProtectionSummary",
    "unprotected": "ProtectionService/ListUnprotectedResources",
    "expiring": "ProtectionService/ListExpiringBackups",
}
report: Final = Group(
    "report",
    commands={name: command(name, index.verb(*index.place(rpc))) for name, rpc in _REPORTS.items()},
    help="Report what is protected, and what is not, over all projects of the tenant.",
)

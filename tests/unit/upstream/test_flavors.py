"""The files of the clouds against the declarations; and how the configuration names a cloud."""

from collections import Counter

import pytest
from cbrgateway.v1 import types_pb2
from pydantic import ValidationError

from gateway.errors import GatewayError
from gateway.operations import load_catalog
from gateway.upstream.flavors import FLAVORS
from gateway.upstream.settings import RegionSettings

CATALOG = load_catalog()
OWN_READS = {
    *(
        "VaultService/ListVaults",
        "VaultService/GetVault",
        "PolicyService/ListPolicies",
        "PolicyService/GetPolicy",
        "TaskService/ListTasks",
    ),
    *(
        "TaskService/GetTask",
        "BackupService/ListBackups",
        "BackupService/GetBackup",
        "BackupShareService/ListBackupMembers",
    ),
    *(
        "CheckpointService/GetCheckpoint",
        "ProtectabilityService/ListProtectables",
        "ProtectabilityService/GetProtectable",
    ),
}
"""What the gateway reads for itself, whatever is called: to count, to find lost changes, to follow
tasks, and to know whose an object is.
"""


def has(flavor, rpc):
    try:
        flavor.check(CATALOG[rpc])
    except GatewayError:
        return False
    return True


@pytest.mark.parametrize("flavor", FLAVORS.values(), ids=FLAVORS)
def test_a_clouds_file_fits_the_declarations(flavor):
    named = Counter(operation for group in flavor.absent for operation in group.operations)
    published = set(flavor.published or ())
    assert named.keys() | published <= {binding.operation for binding in CATALOG}
    assert max(named.values(), default=1) == 1
    assert not named.keys() & published
    assert len(published) == len(flavor.published or ())
    assert {f"CHARGING_MODE_{mode.upper()}" for mode in flavor.create.charging_modes} <= set(
        types_pb2.ChargingMode.keys()
    )
    for pattern in (flavor.endpoint, flavor.iam_endpoint):
        url = pattern.format(region="eu-de")
        assert RegionSettings(endpoint=url).endpoint == url


@pytest.mark.parametrize("flavor", FLAVORS.values(), ids=FLAVORS)
def test_a_cloud_has_what_the_gateway_needs_of_it(flavor):
    assert all(has(flavor, rpc) for rpc in OWN_READS)
    changes = [binding for binding in CATALOG if binding.read_back and has(flavor, binding.rpc)]
    assert all(has(flavor, binding.read_back) for binding in changes)


def test_huawei_has_everything_and_otc_what_its_manual_has():
    assert all(has(FLAVORS["huawei"], binding.rpc) for binding in CATALOG)
    there = {
        binding.rpc for binding in CATALOG if binding.operation and has(FLAVORS["otc"], binding.rpc)
    }
    # 37 rows of the API reference, and the two of protectables that only its list of permissions
    # has.
    assert len(there) == 39
    assert {
        "VaultService/CreateVault",
        "BackupService/RestoreBackup",
        "ProtectabilityService/ListProtectables",
    } <= there


def test_a_region_of_a_cloud_needs_no_addresses():
    region = RegionSettings(flavor="otc").region("eu-nl")
    assert (region.endpoint, region.iam_endpoint) == (
        "https://cbr.eu-nl.otc.t-systems.com",
        "https://iam.eu-nl.otc.t-systems.com",
    )
    assert (
        RegionSettings().region("cn-north-4").endpoint == "https://cbr.cn-north-4.myhuaweicloud.com"
    )
    here = RegionSettings(
        flavor="otc", endpoint="https://cbr.example/", iam_endpoint="https://iam.example"
    ).region("eu-de")
    assert here[1:] == ("https://cbr.example", "https://iam.example")


def test_a_password_does_not_go_to_the_public_iam_where_cbr_is_elsewhere():
    assert RegionSettings(endpoint="https://cbr.example").region("cn-north-4").iam_endpoint == ""


def test_an_unknown_cloud_is_refused():
    with pytest.raises(ValidationError, match="Known are huawei, otc"):
        RegionSettings(flavor="aws")

"""What the emulated service knows: one dataclass per kind of object.

Times are seconds of emulator time.

These are records, not views: what a reply shows of them is decided in `views`.
"""

from dataclasses import dataclass, field
from typing import Any

SERVER, VOLUME, TURBO = "OS::Nova::Server", "OS::Cinder::Volume", "OS::Sfs::Turbo"
WORKSPACE, NATIVE, BARE_METAL = (
    "OS::Workspace::DesktopV2",
    "OS::Native::Server",
    "OS::Ironic::BareMetalServer",
)
RESOURCE_TYPES = (SERVER, VOLUME, BARE_METAL, NATIVE, TURBO, WORKSPACE)
OBJECT_TYPES = ("server", "disk", "turbo", "workspace", "vmware", "rds", "file")


@dataclass(frozen=True, slots=True)
class Product:
    """Constants that belong together for one kind of vault."""

    provider_id: str
    spec_code: str
    resource_types: tuple[str, ...]


SERVER_PROVIDER = "0daac4c5-6707-4851-97ba-169e36266b66"
HYBRID_PROVIDER = "a13639de-00be-4e94-af30-26912d75e4a2"

PRODUCTS: dict[str, Product] = {
    "server": Product(SERVER_PROVIDER, "vault.backup.server.normal", (SERVER, BARE_METAL)),
    "disk": Product(
        "d1603440-187d-4516-af25-121250c7cc97", "vault.backup.volume.normal", (VOLUME,)
    ),
    "turbo": Product("3f3c3220-245c-4805-b811-758870015881", "vault.backup.turbo.normal", (TURBO,)),
    "workspace": Product(
        "86a80900-71bf-4961-956a-d52df944f84a", "vault.backup.server.normal", (WORKSPACE,)
    ),
    "vmware": Product(HYBRID_PROVIDER, "vault.hybrid.server.normal", (NATIVE,)),
    "rds": Product(SERVER_PROVIDER, "vault.backup.database.normal", ()),
    "file": Product(HYBRID_PROVIDER, "vault.backup.server.normal", (NATIVE,)),
}
"""By `billing.object_type`. The last two rows are a guess: the vendor does not publish them."""


@dataclass(slots=True)
class Protectable:
    """Something that can be backed up: a server with its disks, a disk, a file share, a desktop."""

    id: str
    project_id: str
    kind: str
    """Word of the path: server, disk, turbo, workspace."""
    type: str
    name: str
    size: int
    """GB; of a server the sum of its disks."""
    az: str
    status: str
    created_at: float
    children: list["Protectable"] = field(default_factory=list)
    bootable: bool = False
    encrypted: bool = False
    agent_installed: bool = False
    refusal: tuple[str, str, str] | None = None
    """Why it cannot be protected: (code, reason, message)."""
    tags: dict[str, str] = field(default_factory=dict)
    """In its own service."""


@dataclass(slots=True)
class BoundResource:
    """A resource inside a vault."""

    id: str
    type: str
    name: str
    size: int
    extra_info: dict[str, Any] = field(default_factory=dict)
    auto_protect: bool = True
    protect_status: str | None = "available"

    def now(self, status: str) -> None:
        """Change the status; one that was deleted in its own service stays `deleted`."""
        if self.protect_status != "deleted":
            self.protect_status = status


@dataclass(slots=True)
class Vault:
    """A vault with its billing part flattened into it."""

    id: str
    project_id: str
    name: str
    size: int
    object_type: str
    protect_type: str
    consistent_level: str
    user_id: str
    created_at: float
    cloud_type: str = "public"
    charging_mode: str = "post_paid"
    is_multi_az: bool = False
    order_id: str | None = None
    product_id: str | None = None
    status: str = "available"
    description: str | None = None
    resources: dict[str, BoundResource] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    enterprise_project_id: str = "0"
    auto_bind: bool = False
    bind_rules: dict[str, Any] = field(default_factory=dict)
    auto_expand: bool = False
    smn_notify: bool = True
    threshold: int = 80
    backup_name_prefix: str | None = None
    demand_billing: bool = False
    locked: bool = False
    availability_zone: str = ""
    sys_lock_source_service: str = ""
    policies: dict[str, str | None] = field(default_factory=dict)
    """Policy id -> destination vault id (replication policies only)."""

    @property
    def product(self) -> Product:
        """The constants of this kind of vault."""
        return PRODUCTS[self.object_type]

    @property
    def spec_code(self) -> str:
        """`billing.spec_code`."""
        if self.protect_type == "replication":
            return (
                f"vault.replication.{'turbo' if self.object_type == 'turbo' else 'server'}.normal"
            )
        return self.product.spec_code

    @property
    def allocated(self) -> int:
        """GB: the sum of the bound resources."""
        return sum(resource.size for resource in self.resources.values())


@dataclass(slots=True)
class ReplicationRecord:
    """One copy of a backup into another region; kept with the source backup."""

    id: str
    created_at: float
    source: "Backup"
    source_region: str
    destination_backup_id: str
    destination_checkpoint_id: str
    destination_project_id: str
    destination_region: str
    destination_vault_id: str
    auto_trigger: bool
    task_id: str = ""
    status: str = "waiting_replicate"
    fail_code: str = ""
    fail_reason: str = ""


@dataclass(slots=True)
class Backup:
    """A backup of one resource; a server backup has one child for each disk."""

    id: str
    project_id: str
    vault_id: str
    checkpoint_id: str
    provider_id: str
    name: str
    resource_id: str
    resource_name: str
    resource_type: str
    resource_size: int
    resource_az: str
    created_at: float
    size_mb: int
    incremental: bool
    description: str = ""
    status: str = "protecting"
    image_type: str = "backup"
    auto_trigger: bool = False
    policy_id: str | None = None
    parent_id: str | None = None
    protected_at: float | None = None
    updated_at: float | None = None
    expired_at: float | None = None
    bootable: bool = False
    encrypted: bool = False
    task_id: str | None = None
    """The backup task that made it, for its progress."""
    snapshot_id: str | None = None
    image_ids: list[str] = field(default_factory=list)
    """Images the owner registered from it."""
    children: list["Backup"] = field(default_factory=list)
    records: list[ReplicationRecord] = field(default_factory=list)
    enterprise_project_id: str = "0"


@dataclass(slots=True)
class Checkpoint:
    """One run of a backup over the resources of a vault."""

    id: str
    project_id: str
    vault_id: str
    vault_name: str
    provider_id: str
    created_at: float
    name: str
    description: str
    retention_days: int
    status: str = "protecting"
    resources: list[BoundResource] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    backup_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Member:
    """A backup shared with another project."""

    id: str
    backup_id: str
    dest_project_id: str
    created_at: float
    status: str = "pending"
    image_id: str | None = None
    vault_id: str | None = None
    updated_at: float | None = None


@dataclass(slots=True)
class Policy:
    """A backup or replication policy; which vaults use it is kept with the vaults."""

    id: str
    project_id: str
    name: str
    operation_type: str
    enabled: bool
    definition: dict[str, Any]
    trigger_id: str
    trigger: dict[str, Any]
    created_at: float


@dataclass(slots=True)
class OrganizationPolicy:
    """A policy that an organization hands to its accounts; `body`: the fields as they were sent."""

    id: str
    domain_id: str
    domain_name: str
    body: dict[str, Any]
    created_at: float


@dataclass(slots=True)
class AgentPath:
    """A directory an agent backs up."""

    id: str
    dir_path: str
    exclude_paths: str


@dataclass(slots=True)
class Agent:
    """A file backup agent on a host."""

    agent_id: str
    project_id: str
    host: dict[str, str]
    """host_name, host_ip, host_os, host_nickname, agent_version, agent_type."""
    created_at: float
    last_active_at: float
    status: str = "normal"
    updated_at: float | None = None
    paths: dict[str, AgentPath] = field(default_factory=dict)


@dataclass(slots=True)
class Order:
    """An order of the billing centre. `vault` waits here until the order is paid."""

    id: str
    project_id: str
    resource_id: str
    paid: bool
    vault: Vault | None = None

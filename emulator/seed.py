"""Resources that nobody made: servers with disks, loose disks, file shares, desktops."""

from typing import Any

from emulator.ids import seeded
from emulator.model import SERVER, TURBO, VOLUME, WORKSPACE, Protectable
from emulator.settings import Project
from emulator.world import World

SERVERS, DISKS, TURBOS, WORKSPACES = 6, 4, 2, 1

TYPES = {"server": SERVER, "disk": VOLUME, "turbo": TURBO, "workspace": WORKSPACE}


def seed_world(world: World) -> None:
    """Give every project the same set of resources; ids depend on project and name only."""
    for project in world.projects.values():
        counts = {"server": SERVERS, "disk": DISKS, "turbo": TURBOS, "workspace": WORKSPACES}
        for kind, count in counts.items():
            for number in range(1, count + 1):
                _add(world, project, kind, {"name": f"{kind}-{number:02d}"})
        _add(world, project, "server", {"name": "server-encrypted", "encrypted": True})
        _add(world, project, "server", {"name": "server-diskless", "volumes": []})


def add_resource(world: World, project: Project, kind: str, wish: dict[str, Any]) -> Protectable:
    """Add one resource: `wish` may hold id, name, size (GB), volumes (GB each, servers only),
    encrypted, tags.

    Raises ValueError for an unknown kind or a name the project already has.
    """
    if kind not in TYPES:
        raise ValueError(f"unknown kind {kind}, known are {', '.join(TYPES)}")
    wish = {
        "name": (
            f"{kind}-{sum(1 for each in world.protectables.values() if each.kind == kind) + 1:04d}"
        ),
        **wish,
    }
    return _add(world, project, kind, wish)


def _add(world: World, project: Project, kind: str, wish: dict[str, Any]) -> Protectable:
    name = str(wish["name"])
    resource_id = str(wish.get("id") or seeded(project.id, kind, name))
    if resource_id in world.protectables:
        raise ValueError(f"{kind} {name} exists already in project {project.name}")
    encrypted = bool(wish.get("encrypted", False))
    volumes = [int(size) for size in wish.get("volumes", (40, 100))] if kind == "server" else []
    item = Protectable(
        id=resource_id,
        project_id=project.id,
        kind=kind,
        type=TYPES[kind],
        name=name,
        size=sum(volumes) if kind == "server" else int(wish.get("size", 100)),
        az=f"{project.region}a",
        status="ACTIVE" if kind == "server" else "available",
        created_at=world.clock.now(),
        encrypted=encrypted,
        agent_installed=kind == "server" and bool(volumes),
        tags=dict(wish.get("tags", {})),
    )
    for index, size in enumerate(volumes):
        item.children.append(_disk_of(item, index, size))
    if kind == "server" and not volumes:
        item.status = "SHUTOFF"
        item.refusal = ("BackupService.7108", "no-volume", "The server has no disk.")
    for each in (item, *item.children):
        world.protectables[each.id] = each
    return item


def _disk_of(server: Protectable, index: int, size: int) -> Protectable:
    name = server.name if index == 0 else f"{server.name}-data-{index}"
    return Protectable(
        id=seeded(server.id, "volume", str(index)),
        project_id=server.project_id,
        kind="disk",
        type=VOLUME,
        name=name,
        size=size,
        az=server.az,
        status="in-use",
        created_at=server.created_at,
        bootable=index == 0,
        encrypted=server.encrypted,
    )

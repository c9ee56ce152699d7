"""What reports asked of the emulators."""


def lists(emulator, since):
    """What arrived: (operation, project, path, without the page)."""
    return [
        entry
        for entry in emulator.state.truth.entries()
        if entry.seq > since and entry.method == "GET"
    ]


def most_at_once(entries):
    """Of requests that were open at the same moment."""
    moments = sorted(
        [(entry.arrived_at, 1) for entry in entries] + [(entry.replied_at, -1) for entry in entries]
    )
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return most

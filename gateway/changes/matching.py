"""Finds the changes that a task can belong to without asking each of them. Pure.

A change is filed under keys, and a task leads to keys: where the one may have started the other,
they share a key. The other way round it is only likely; `Claim.may_own` tells.
"""

from collections.abc import Collection, Iterable
from typing import TypeAlias

from gateway.upstream.task_search import Search, Task, subjects_of

Key: TypeAlias = tuple[str | int, ...]


def keys_of(
    search: Search, task_ids: Iterable[str] = (), left_out: Iterable[str] = ()
) -> frozenset[Key]:
    """Where a change is filed. `task_ids`: tasks that were found to be its own; `left_out`: ids of
    resources that CBR left out of it.
    """
    keys: set[Key] = {("task", task_id) for task_id in (*search.named, *task_ids)}
    keys.update(("subject", kind, each) for kind in search.kinds for each in left_out)
    if search.named:
        return frozenset(keys)
    if search.checkpoint_id:
        keys.add(("checkpoint", search.checkpoint_id))
    elif search.subjects:
        keys.update(
            ("subject", kind, subject) for kind in search.kinds for subject in search.subjects
        )
    else:
        keys.update(("vault", kind, search.vault_id) for kind in search.kinds)
    return frozenset(keys)


def keys_to(task: Task) -> list[Key]:
    """Where to look for the changes that can have started a task."""
    keys: list[Key] = [
        ("task", task.id),
        ("vault", task.type, ""),
        ("vault", task.type, task.vault_id),
        ("checkpoint", task.checkpoint_id),
    ]
    return keys + [("subject", task.type, subject) for subject in subjects_of(task)]


class Index:
    """Names of changes by their keys."""

    def __init__(self) -> None:
        self._keys: dict[str, frozenset[Key]] = {}
        self._names: dict[Key, set[str]] = {}

    def put(self, name: str, keys: frozenset[Key]) -> None:
        """Files a change, or files it anew."""
        before = self._keys.get(name, frozenset())
        if before == keys:
            return
        self._remove(name, before - keys)
        self._keys[name] = keys
        for key in keys - before:
            self._names.setdefault(key, set()).add(name)

    def drop(self, name: str) -> None:
        self._remove(name, self._keys.pop(name, frozenset()))

    def of(self, tasks: Iterable[Task]) -> set[str]:
        """The changes that may have started one of the tasks."""
        found: set[str] = set()
        for task in tasks:
            for key in keys_to(task):
                found |= self._names.get(key, set())
        return found

    def _remove(self, name: str, keys: Collection[Key]) -> None:
        for key in keys:
            names = self._names[key]
            names.discard(name)
            if not names:
                del self._names[key]

"""Which vaults are to be backed up by which policy, and since when that is known; pure."""

from collections.abc import Callable, Iterable, Iterator

import msgspec
from cbrgateway.v1 import policy_pb2, types_pb2

from gateway.schedules.recurrence import Rule, rule_of


class Plan(msgspec.Struct, frozen=True):
    """A policy that is enabled and backs up these vaults, which have something to back up.

    `text`: its rules as CBR tells them. `start`: from when on they are in force, in seconds since
    1970. `window_s`: how long after its time a run may start.
    """

    policy: str
    name: str
    text: str
    rules: tuple[Rule, ...]
    start: float
    window_s: float
    vaults: frozenset[str]

    def times(self, after: float, until: float) -> dict[float, float]:
        """When it is to run, and how much earlier the run may have come."""
        found: dict[float, float] = {}
        for rule in self.rules:
            for at in rule.times(self.start, after, until):
                found[at] = min(rule.uncertain_s, found.get(at, rule.uncertain_s))
        return dict(sorted(found.items()))


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a plan: its rules, since when each vault is in it, and up to which time its
    runs are told. In seconds since 1970, by CBR's clock.
    """

    text: str
    told: float
    vaults: dict[str, float]


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """How far missed runs of one project are told, as the store keeps it. `made`: by our clock."""

    made: float
    plans: dict[str, Known] = {}

    def with_plans(self, plans: Iterable[Plan], now: float, made: float) -> "Progress":
        """Knows what is there now. What was not there before is known from now on."""
        return Progress(made, {plan.policy: self._known(plan, now) for plan in plans})

    def told(self, policy: str, due: float) -> "Progress":
        """The runs of a policy are told up to that time."""
        known = msgspec.structs.replace(self.plans[policy], told=due)
        return msgspec.structs.replace(self, plans=self.plans | {policy: known})

    def _known(self, plan: Plan, now: float) -> Known:
        before = self.plans.get(plan.policy)
        if before is None or before.text != plan.text:
            return Known(plan.text, now, dict.fromkeys(plan.vaults, now))
        since = {vault: before.vaults.get(vault, now) for vault in sorted(plan.vaults)}
        return msgspec.structs.replace(before, vaults=since)


def plans_of(
    policies: Iterable[policy_pb2.Policy],
    vaults: Iterable[types_pb2.Vault],
    on_unclear: Callable[[str], None],
) -> Iterator[Plan]:
    """Of policies that replicate nobody can say whether there was something to do.

    `on_unclear` hears of policies whose times cannot be understood.
    """
    filled = {vault.id for vault in vaults if any(map(_is_backed_up, vault.resources))}
    for policy in policies:
        backs_up = policy.operation_type == types_pb2.POLICY_OPERATION_TYPE_BACKUP
        if not (policy.enabled and backs_up):
            continue
        meant = frozenset(vault.vault_id for vault in policy.associated_vaults) & filled
        trigger = policy.trigger.properties
        if not meant or not trigger.pattern:
            continue
        try:
            rules = tuple(map(rule_of, trigger.pattern))
        except ValueError:
            on_unclear(policy.id)
            continue
        yield Plan(
            policy.id,
            policy.name or policy.id,
            f"{sorted(trigger.pattern)} {trigger.start_window_minutes}",
            rules,
            trigger.start_time.ToNanoseconds() / 1e9,
            trigger.start_window_minutes * 60.0,
            meant,
        )


def _is_backed_up(resource: types_pb2.VaultResource) -> bool:
    """Where CBR does not say whether policies back it up, they do."""
    off = resource.HasField("auto_protect") and not resource.auto_protect
    return not off and resource.protect_status != types_pb2.PROTECT_STATUS_DELETED

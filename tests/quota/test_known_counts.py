"""Which counts of projects are known, while limits change."""

from types import SimpleNamespace

from gateway.limits.counts import Counts
from gateway.limits.known_counts import KnownCounts

COUNTED = SimpleNamespace(counted_at=1.0)


async def test_what_new_limits_rest_on_is_recalled_too_though_they_came_while_the_store_was_asked():
    limits = [Counts(project_of={"vaults:project:p": "p"})]
    asked = []

    async def usage(parts):
        asked.append(parts)
        if len(asked) == 1:
            limits[0] = Counts(project_of={"policies:project:p": "p"})
            known.forget()
        return dict.fromkeys(parts, COUNTED)

    life = SimpleNamespace(number=1, forgot=False)
    known = KnownCounts(life, SimpleNamespace(usage=usage), {})
    for _ in range(3):
        await known.recall(lambda: limits[0])
    assert asked == [["vaults:project:p"], ["policies:project:p"]]
    assert known.parts == {"policies:project:p"}

"""Events reach a receiver over HTTPS at least once, in order for each subject, whatever it does."""

import contextlib

import pytest
from standardwebhooks import Webhook

from emulator.server import running_emulator
from gateway.clock import SystemClock
from gateway.events.dead import dead_letters
from gateway.events.running import Events
from gateway.events.types import TaskData, TaskEnded, moment
from gateway.limits.limits import Limits
from gateway.state import StoreSettings, open_store
from tests.events.receiver import KEY, OTHER_KEY, receiving
from tests.events.scenes import assert_valid, settings, telling
from tests.fakes import SteppedClock
from tests.functional.calls import until
from tests.watch.streams import STILL, end_task, start_task


def event(n: int, subject: str = "", outcome: str = "failed", tenant: str = "payments"):
    data = TaskData(outcome=outcome, task=f"t{n}", task_type="BACKUP", project="p", tenant=tenant)
    return TaskEnded(
        id=f"task-{n}", source="here", subject=subject or f"s{n}", time=moment(1.7e9), data=data
    )


class Bench:
    """Events between a store and a receiver, without a gateway."""

    def __init__(self, events, store):
        self.events, self.store, self.pending = events, store, events.pending
        self.counts = events.pending.counts["ops"]

    def waiting(self):
        return self.store.queues.length("events:ops")

    def dead(self):
        return self.store.queues.length("dead_events:ops")


@contextlib.asynccontextmanager
async def bench(known, clock=None):
    async with open_store(StoreSettings(), SystemClock()) as store:
        events = Events(known, store, clock or SystemClock())
        async with events.running(lambda: (Limits(), ())):
            yield Bench(events, store)


@pytest.fixture
async def receiver(tmp_path):
    async with receiving(tmp_path) as receiver:
        yield receiver


async def test_the_end_of_every_task_is_told_signed_and_in_the_published_form(receiver):
    async with running_emulator(pace=STILL) as cloud, telling(cloud, settings(receiver)) as world:
        tasks = [start_task(world, vault_id=f"v{n}") for n in range(3)]
        for task, status in zip(tasks, ("success", "failed", "timeout"), strict=True):
            end_task(world, task, status)
        await until(lambda: len(receiver.got) == 3)
    assert_valid(receiver.got)
    told = {event["data"]["task"]: event for event in receiver.got}
    assert {task.id: told[task.id]["data"]["outcome"] for task in tasks} == dict(
        zip((task.id for task in tasks), ("succeeded", "failed", "timed_out"), strict=True)
    )
    failed = told[tasks[1].id]
    assert failed["type"] == "com.cbrgateway.task.ended.v1"
    assert failed["subject"] == "vaults/v1"
    assert failed["data"]["tenant"] == "payments"
    assert {"type": "vault", "id": "v1"} in failed["data"]["resources"]


async def test_an_event_that_is_put_again_is_told_once(receiver):
    receiver.delay_s = 0.2
    async with bench(settings(receiver)) as one:
        for _ in range(3):
            await one.pending.put(event(1))
        await one.pending.put(event(2))
        await until(lambda: "task-2" in receiver.ids())
    assert receiver.ids() == ["task-1", "task-2"]


async def test_a_receiver_that_was_killed_gets_everything_when_it_is_back(receiver):
    await receiver.kill()
    async with bench(settings(receiver)) as one:
        for n in range(20):
            await one.pending.put(event(n, f"s{n % 3}"))
        await until(lambda: one.counts.failed >= 3)
        await receiver.start()
        await until(lambda: len(receiver.got) == 20)
        await until(lambda: one.counts.delivered == 20)
        assert await one.waiting() == 0
    for n in range(3):
        ours = [int(each["id"][5:]) for each in receiver.got if each["subject"] == f"s{n}"]
        assert ours == sorted(ours)


async def test_what_it_answers_badly_holds_up_only_its_subject(receiver):
    refused = {"task-1"}
    receiver.answer = lambda told: 500 if told["id"] in refused else None
    async with bench(settings(receiver)) as one:
        for n, subject in enumerate(("a", "b", "b", "c", "b", "d")):
            await one.pending.put(event(n, subject))
        await until(lambda: {"task-0", "task-3", "task-5"} <= set(receiver.ids()))
        await until(lambda: receiver.seen["task-1"] >= 3)
        assert not {"task-2", "task-4"} & set(receiver.seen)
        refused.clear()
        await until(lambda: len(receiver.got) == 6)
    assert [told for told in receiver.ids() if told in {"task-1", "task-2", "task-4"}] == [
        "task-1",
        "task-2",
        "task-4",
    ]


async def test_a_slow_receiver_is_tried_again_and_slows_nobody(receiver, tmp_path):
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    receiver.delay_s = 60
    async with receiving(other_folder) as other:
        sinks = receiver.sink(timeout_s=0.2), other.sink(name="other")
        async with bench(settings(receiver, *sinks)) as one:
            for n in range(5):
                await one.pending.put(event(n))
            await until(lambda: len(other.got) == 5)
            await until(lambda: one.counts.failed >= 2)
            receiver.delay_s = 0
            await until(lambda: len(receiver.got) == 5)


async def test_a_redirect_is_not_followed(receiver):
    receiver.status, receiver.headers = 307, b"location: https://127.0.0.1:1/else\r\n"
    async with bench(settings(receiver)) as one:
        await one.pending.put(event(1))
        await until(lambda: one.counts.failed >= 2)
        assert one.counts.delivered == 0
        receiver.status = 200
        await until(lambda: receiver.ids() == ["task-1"])


async def test_two_keys_sign_while_they_change(receiver):
    both = receiver.sink(keys=[{"env": "OTHER_KEY"}, {"env": "HOOK_KEY"}])
    async with bench(settings(receiver, both)) as one:
        await one.pending.put(event(1))
        await until(lambda: receiver.got)
    body, headers = receiver.bodies[0]
    for key in (KEY, OTHER_KEY):
        assert Webhook(key).verify(body, headers)["id"] == "task-1"


async def test_filters_choose_by_tenant_type_and_outcome(receiver, tmp_path):
    kinds = {
        "tenants": {"tenants": ["payments"]},
        "outcomes": {"outcomes": ["failed", "skipped"]},
        "types": {"types": ["com.cbrgateway.limit.reached.v1"]},
        "all": {},
    }
    sinks = [receiver.sink(name=name, **more) for name, more in kinds.items()]
    known = settings(receiver, *sinks)
    wanted = {
        sink.name: [
            sink.wants("com.cbrgateway.task.ended.v1", tenant, outcome)
            for tenant, outcome in (("payments", "failed"), ("databases", "succeeded"))
        ]
        for sink in known.sinks
    }
    assert wanted == {
        "tenants": [True, False],
        "outcomes": [True, False],
        "types": [False, False],
        "all": [True, True],
    }


async def test_what_nobody_takes_becomes_a_dead_letter_after_its_time(receiver):
    receiver.status, clock = 500, SteppedClock()
    known = settings(receiver, give_up_s=86_400)
    async with bench(known, clock) as one:
        await one.pending.put(event(1))
        await until(lambda: one.counts.failed >= 1)
        assert await one.dead() == 0
        clock.advance(86_400)
        await until(lambda: one.counts.given_up == 1)
        assert (await one.waiting(), await one.dead()) == (0, 1)


async def test_of_too_many_the_oldest_become_dead_letters(receiver):
    await receiver.kill()
    known = settings(receiver, max_queued=100, max_dead=5)
    async with bench(known) as one:
        for n in range(110):
            await one.pending.put(event(n))
        assert (await one.waiting(), await one.dead()) == (100, 5)
        found = [each async for each in dead_letters(one.store.queues, ["ops"])]
        assert [event_id for _, event_id, _ in found] == [f"task-{n}" for n in range(5, 10)]
    await receiver.start()


async def test_an_address_that_is_not_public_gets_nothing(receiver):
    known = settings(receiver, allowed_networks=["10.0.0.0/8"])
    async with bench(known) as one:
        await one.pending.put(event(1))
        await until(lambda: one.counts.failed >= 2)
        assert not receiver.seen
        assert not receiver._open


async def test_a_certificate_that_is_not_trusted_gets_nothing(receiver):
    async with bench(settings(receiver, receiver.sink(ca_file=None))) as one:
        await one.pending.put(event(1))
        await until(lambda: one.counts.failed >= 2)
        assert not receiver.seen


async def test_an_answer_is_never_logged(receiver, capfd):
    receiver.status, receiver.headers = 500, b"x-canary: canary-in-answer\r\n"
    async with bench(settings(receiver)) as one:
        await one.pending.put(event(1))
        await until(lambda: one.counts.failed >= 2)
    out, err = capfd.readouterr()
    assert "canary-in-answer" not in out + err
    assert "status 500" in out + err
    assert "whsec_" not in out + err


async def test_one_of_two_processes_delivers(receiver, tmp_path):
    """They share a store; each event is put once and told once."""
    async with open_store(StoreSettings(), SystemClock()) as store:
        pair = [Events(settings(receiver), store, SystemClock()) for _ in range(2)]
        nothing = lambda: (Limits(), ())  # noqa: E731
        async with pair[0].running(nothing), pair[1].running(nothing):
            for n in range(40):
                await pair[n % 2].pending.put(event(n, f"s{n % 4}"))
            await until(lambda: len(set(receiver.ids())) == 40)
    assert max(receiver.seen.values()) == 1

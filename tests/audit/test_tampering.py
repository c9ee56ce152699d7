"""Whatever is done to the files of a log, verification finds it and names the first record that is
not as it was written.
"""

import gzip
import os
import random
import shutil

import pytest

from gateway.audit.chain import Keys
from gateway.audit.segments import segments
from gateway.audit.verify import verify
from tests.audit.logs import KEYS, WRITER, entry, pack, sink

TAMPERS = int(os.environ.get("AUDIT_SOAK", "0")) * 1000 or 200


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A log of several segments, of which some are packed, a second one by another writer, and the
    anchors of the first.
    """
    folder = tmp_path_factory.mktemp("log")
    log = sink(folder, max_bytes=4000)
    anchors = []
    for number in range(40):
        log.append([entry(number)])
        if number % 5 == 4:
            anchors.append(log.checkpoint())
    for each in segments(folder)[WRITER][1:3]:
        pack(each.path)
    anchors.append(log.close())
    other = sink(folder, writer="there", max_bytes=4000)
    for number in range(20):
        other.append([entry(number)])
    other.close()
    return folder, [each for each in anchors if each is not None]


def test_what_was_written_is_found_good(made):
    folder, anchors = made
    here, there = verify(folder, KEYS, anchors)
    assert (here.bad, there.bad) == (None, None)
    assert here.records == here.head.sequence > 48
    assert len(segments(folder)[WRITER]) > 5


def lines_of(folder):
    return [
        (each.path, number)
        for each in segments(folder)[WRITER]
        for number in range(each.data().count(b"\n"))
    ]


def rewrite(path, change):
    packed = path.suffix == ".gz"
    data = path.read_bytes()
    changed = b"".join(
        change((gzip.decompress(data) if packed else data).splitlines(keepends=True))
    )
    path.write_bytes(gzip.compress(changed) if packed else changed)


def edit(rnd, folder, spot):
    path, at = spot

    def change(lines):
        line = bytearray(lines[at])
        place = rnd.randrange(len(line) - 1)
        line[place] = rnd.choice([byte for byte in b'aZ09"{}:,\x00\xff' if byte != line[place]])
        lines[at] = bytes(line)
        return lines

    rewrite(path, change)


def drop(rnd, folder, spot):
    rewrite(spot[0], lambda lines: lines[: spot[1]] + lines[spot[1] + 1 :])


def swap(rnd, folder, spot):
    path, at = spot

    def change(lines):
        other = (at + 1) if at + 1 < len(lines) else at - 1
        lines[at], lines[other] = lines[other], lines[at]
        return lines

    rewrite(path, change)


def duplicate(rnd, folder, spot):
    rewrite(spot[0], lambda lines: [*lines[: spot[1] + 1], lines[spot[1]], *lines[spot[1] + 1 :]])


def cut_tail(rnd, folder, spot):
    path, at = spot
    # Also within a line.
    rewrite(path, lambda lines: [*lines[:at], lines[at][: rnd.randrange(len(lines[at]))]])
    for each in segments(folder)[WRITER]:
        if each.path.name > path.name:
            each.path.unlink()


def splice(rnd, folder, spot):
    """Another writer's segment, or another one of the same writer, under this one's name."""
    others = [
        each.path for files in segments(folder).values() for each in files if each.path != spot[0]
    ]
    shutil.copyfile(rnd.choice(others), spot[0])


def remove(rnd, folder, spot):
    spot[0].unlink()


KINDS = (edit, drop, swap, duplicate, cut_tail, splice, remove)


@pytest.mark.timeout(300 + TAMPERS)
def test_every_tamper_is_found_and_its_first_record_named(made, tmp_path):
    folder, anchors = made
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    spots = lines_of(folder)
    for number in range(TAMPERS):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        kind, (path, at) = KINDS[number % len(KINDS)], rnd.choice(spots)
        index = spots.index((path, at))
        kind(rnd, copy, (copy / path.name, at))
        found = next(each for each in verify(copy, KEYS, anchors) if each.writer == WRITER)
        assert found.bad is not None, (seed, number, kind.__name__, path.name, at)
        first = spots.index((path, 0)) + 1
        due = {"splice": first, "remove": first, "duplicate": index + 2}.get(
            kind.__name__, index + 1
        )
        if kind is swap and (path, at + 1) not in spots:
            due = index
        assert found.bad.sequence == due, (seed, number, kind.__name__, str(found.bad))
        shutil.rmtree(copy)


def test_bytes_that_are_no_text_are_named_too(made, tmp_path):
    folder, anchors = made
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = segments(copy)[WRITER][0].path
    path.write_bytes(path.read_bytes().replace(b"class_uid", b"class_\xffid", 1))
    assert verify(copy, KEYS, anchors)[0].bad.sequence == 1


def test_a_line_that_no_parser_descends_into_is_named_too(made, tmp_path):
    folder, anchors = made
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = segments(copy)[WRITER][0].path
    path.write_bytes(
        path.read_bytes().replace(b"{", b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b",", 1)
    )
    assert verify(copy, KEYS, anchors)[0].bad.sequence == 1


def test_without_anchors_a_cut_tail_is_not_seen_and_with_them_it_is(made, tmp_path):
    folder, anchors = made
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    last = segments(copy)[WRITER][-1].path
    rewrite(last, lambda lines: lines[:1])
    assert verify(copy, KEYS)[0].bad is None
    assert "are missing" in str(verify(copy, KEYS, anchors)[0].bad)


def test_a_log_that_is_gone_altogether_is_missed(made, tmp_path):
    _, anchors = made
    assert "are missing" in str(verify(tmp_path, KEYS, anchors)[0].bad)


def test_another_key_fits_nothing(made):
    folder, anchors = made
    assert all(
        each.bad
        for each in verify(folder, Keys.of("another-key-for-tests-with-enough-of-it"), anchors)
    )


def test_a_forged_anchor_is_no_anchor(made):
    folder, anchors = made
    forged = [
        type(each)(
            **{name: getattr(each, name) for name in each.__struct_fields__} | {"mac": "0" * 64}
        )
        for each in anchors[-1:]
    ]
    assert "not signed" in str(verify(folder, KEYS, forged)[0].bad)

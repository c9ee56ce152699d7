"""Ids of calls."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from gateway.ids import Ids


def test_each_id_is_given_out_once_and_has_128_bits():
    ids = Ids()
    with ThreadPoolExecutor(8) as threads:
        drawn = [
            each
            for some in threads.map(lambda _: [ids() for _ in range(1000)], range(8))
            for each in some
        ]
    assert len(set(drawn)) == 8000
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in drawn)


FORKED = """
import os
from gateway.ids import new_id
print(new_id(), flush=True)
if os.fork():
    os.wait()
print(*(new_id() for _ in range(256)))
"""


def test_a_process_that_was_forked_gives_out_no_id_of_the_first_one():
    told = subprocess.run(
        [sys.executable, "-c", FORKED], check=True, capture_output=True, text=True
    )
    drawn = told.stdout.split()
    assert len(drawn) == len(set(drawn)) == 513

"""Ids of calls."""

import re
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

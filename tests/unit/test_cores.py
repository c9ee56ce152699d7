"""How many workers `auto` is, where a control group gives less than the machine has."""

import os

import pytest

from gateway.cores import usable_cores

VERSION_2 = {"proc/self/cgroup": "0::/system.slice/gateway.service\n"}
VERSION_1 = {"proc/self/cgroup": "3:memory:/other\n2:cpu,cpuacct:/kubepods/pod1\n0::/\n"}
OWN = "sys/fs/cgroup/system.slice/gateway.service"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        (VERSION_2, 8),
        (VERSION_2 | {f"{OWN}/cpu.max": "max 100000\n"}, 8),
        (VERSION_2 | {f"{OWN}/cpu.max": "150000 100000\n"}, 2),
        (VERSION_2 | {f"{OWN}/cpu.max": "20000 100000\n"}, 1),
        (VERSION_2 | {f"{OWN}/cpu.max": "max 1\n", "sys/fs/cgroup/system.slice/cpu.max": "3 1"}, 3),
        (VERSION_2 | {f"{OWN}/cpu.max": "1600000 100000"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        # The path is the host's, and only the root is there.
        (VERSION_2 | {"sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        (
            VERSION_1
            | {
                "sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (VERSION_1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n"}, 8),
    ],
)
def test_no_more_than_the_limits_of_its_groups(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for name, content in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    assert usable_cores(tmp_path) == expected

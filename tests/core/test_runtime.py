"""How much memory a process may still take: the machine's, its own limits, its control groups."""

import resource
import subprocess
import sys

import pytest
import torch

from snnconv.core import runtime

MIB = 2**20


class System:
    """Files of a system whose machine has 1000 MiB, and where nothing else is a limit."""

    def __init__(self, root):
        self.root = root
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {1000 * 1024} kB\n")
        (root / "proc/self/status").write_text(
            "VmSize:\t307200 kB\nVmRSS:\t1024 kB\nVmData:\t102400 kB\n"
        )

    def groups(self, lines):
        (self.root / "proc/self/cgroup").write_text(lines)

    def group(self, path, **files):
        place = self.root / "sys/fs/cgroup" / path
        place.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (place / name.replace("_", ".", 1)).write_text(f"{value}\n")

    def free(self):
        return runtime.free_memory(torch.device("cpu"), self.root) / MIB


@pytest.fixture
def system(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
    return System(tmp_path)


def test_the_machine(system):
    assert system.free() == 1000
    assert runtime.resident_memory(torch.device("cpu"), system.root) == MIB


def test_limits_of_the_process(system, monkeypatch):
    limits = {resource.RLIMIT_AS: 500 * MIB, resource.RLIMIT_DATA: 250 * MIB}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], -1))
    assert system.free() == 150  # of data; of addresses 200
    limits[resource.RLIMIT_DATA] = resource.RLIM_INFINITY
    assert system.free() == 200
    limits[resource.RLIMIT_AS] = 299 * MIB
    assert system.free() == 0


def test_a_control_group_of_version_2_and_those_around_it(system):
    system.groups("0::/a/b\n")
    system.group("a/b", memory_max=400 * MIB, memory_current=100 * MIB)
    assert system.free() == 300
    system.group("a", memory_max=300 * MIB, memory_current=200 * MIB)
    assert system.free() == 100
    system.group("", memory_max="max", memory_current=1)
    assert system.free() == 100


def test_the_root_of_a_container(system):
    system.groups("0::/of/the/machine\n")
    system.group("", memory_max=500 * MIB, memory_current=20 * MIB)
    assert system.free() == 480


def test_a_control_group_of_version_1(system):
    system.groups("5:cpu,cpuacct:/x\n4:memory:/job\n")
    system.group("memory/job", memory_limit_in_bytes=90 * MIB, memory_usage_in_bytes=20 * MIB)
    assert system.free() == 70


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
def test_a_process_with_a_limit():
    limit = 6 * 2**30
    code = "import torch; from snnconv.core.runtime import free_memory; print(free_memory())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert 0 < int(found.stdout) < limit

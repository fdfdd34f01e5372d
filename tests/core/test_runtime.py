"""How much memory a process may still take: the machine's, its own limits, its control groups."""

import resource
import subprocess
import sys

import pytest
import torch

from snnconv.core import runtime

MIB = 2**20


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system of files, where the machine has 1000 MiB and nothing else is a limit."""
    monkeypatch.setattr(runtime, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(runtime, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(runtime, "_PROCESS", tmp_path / "self")
    (tmp_path / "self").mkdir()
    (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {1000 * 1024} kB\n")
    (tmp_path / "self" / "status").write_text(
        "VmSize:\t307200 kB\nVmRSS:\t1024 kB\nVmData:\t102400 kB\n"
    )
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)

    def group(path, **files):
        place = tmp_path / "cgroup" / path
        place.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (place / name.replace("_", ".", 1)).write_text(f"{value}\n")

    group.lines = (tmp_path / "self" / "cgroup").write_text
    return group


def free():
    return runtime.free_memory(torch.device("cpu")) / MIB


def test_the_machine(system):
    assert free() == 1000
    assert runtime.resident_memory(torch.device("cpu")) == MIB


def test_limits_of_the_process(system, monkeypatch):
    limits = {resource.RLIMIT_AS: 500 * MIB, resource.RLIMIT_DATA: 250 * MIB}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], -1))
    assert free() == 150  # of data; of addresses 200
    limits[resource.RLIMIT_DATA] = resource.RLIM_INFINITY
    assert free() == 200
    limits[resource.RLIMIT_AS] = 299 * MIB
    assert free() == 0


def test_a_control_group_of_version_2_and_those_around_it(system):
    system.lines("0::/a/b\n")
    system("a/b", memory_max=400 * MIB, memory_current=100 * MIB)
    assert free() == 300
    system("a", memory_max=300 * MIB, memory_current=200 * MIB)
    assert free() == 100
    system("", memory_max="max", memory_current=1)
    assert free() == 100


def test_the_root_of_a_container(system):
    system.lines("0::/of/the/machine\n")
    system("", memory_max=500 * MIB, memory_current=20 * MIB)
    assert free() == 480


def test_a_control_group_of_version_1(system):
    system.lines("5:cpu,cpuacct:/x\n4:memory:/job\n")
    system("memory/job", memory_limit_in_bytes=90 * MIB, memory_usage_in_bytes=20 * MIB)
    assert free() == 70


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

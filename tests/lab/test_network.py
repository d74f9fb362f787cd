"""The network of a lab: names, rates, isolation, and what is said where it cannot be made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from thinwire.lab import Lab, LabUnavailable, network

SEND = """
import os, socket, sys, time
size = int(sys.argv[1])
if os.environ["RANK"] == "0":
    peer, _ = socket.create_server(("", 5000)).accept()
    start = time.monotonic()
    while size > 0:
        size -= len(peer.recv(1 << 16))
    print(time.monotonic() - start)
else:
    while True:
        try:
            peer = socket.create_connection(("host0", 5000))
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    peer.sendall(bytes(size))
"""


@pytest.mark.lab
def test_a_shaped_link_takes_its_time_and_counts_its_bytes() -> None:
    size, rate = 500_000, 10_000_000
    lines: list[str] = []
    with Lab(2, "10mbit") as lab:
        command = [sys.executable, "-S", "-c", SEND, str(size)]
        assert lab.run(command, on_line=lambda rank, stream, line: lines.append(line), timeout=60) == [0, 0]
        sent = lab.bytes_sent()
    # both buckets of the way start full: their bytes, and what TCP sends before the clock starts, are for free
    free = 2 * network.Bucket.of(rate).burst + (64 << 10)
    assert float(lines[-1]) >= 0.95 * (size - free) * 8 / rate
    assert size < sent[1] < 1.2 * size  # headers: 54 of 1,514 bytes, and a few retransmissions
    assert 0 < sent[0] < 0.2 * size  # acknowledgements only


@pytest.mark.lab
def test_hosts_have_names_and_nothing_else_is_reachable() -> None:
    lines: list[tuple[int, str]] = []
    script = "hostname; getent hosts host1; cat /proc/self/net/route | wc -l; ls /proc/1 >/dev/null && echo proc"
    with Lab(2) as lab:
        assert lab.run(["sh", "-c", script], on_line=lambda rank, stream, line: lines.append((rank, line))) == [0, 0]
    for rank in range(2):
        name, host1, routes, proc = (line for r, line in lines if r == rank)
        assert (name, host1.split()) == (f"host{rank}", ["10.77.0.2", "host1"])
        assert (routes, proc) == ("2", "proc")  # a heading and the lab's own network


@pytest.mark.lab
def test_two_labs_at_once_and_several_in_a_row() -> None:
    for _ in range(3):
        with Lab(2, "1gbit") as one, Lab(2, "1mbit") as other:
            assert one.run(["true"]) == other.run(["true"]) == [0, 0]


@pytest.mark.lab
def test_the_machines_own_network_is_left_alone() -> None:
    def links() -> str:
        return "\n".join(sorted(os.listdir("/sys/class/net")))

    before, hosts = links(), Path("/etc/hosts").read_text()
    with Lab(2, "1gbit"):
        assert links() == before
        assert Path("/etc/hosts").read_text() == hosts
    assert links() == before


@pytest.mark.lab
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to give up the right to make namespaces")
def test_without_privilege_a_user_namespace_does() -> None:
    program = "from thinwire.lab import Lab\nwith Lab(2, '10mbit') as lab: print(lab.run(['true']))"
    give_up = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"] if os.geteuid() == 0 else []
    done = subprocess.run([*give_up, sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    if "user namespaces" in done.stderr:
        pytest.skip(f"unprivileged user namespaces are not allowed here: {done.stderr.splitlines()[-1]}")
    assert done.stdout == "[0, 0]\n", done.stderr


@pytest.mark.lab
def test_a_lab_whose_holder_is_killed_says_so() -> None:
    with Lab(2) as lab:

        def kill(rank: int, stream: str, line: str) -> None:
            lab._open()._process.kill()

        start = time.monotonic()
        with pytest.raises(RuntimeError, match="holds the lab has ended"):
            lab.run(["sh", "-c", "echo; exec sleep 60"], on_line=kill)
        assert time.monotonic() - start < 30


@pytest.mark.parametrize("missing", ["ip", "tc"])
def test_a_missing_tool_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "find_tool", lambda name: None if name == missing else f"/bin/{name}")
    with pytest.raises(
        LabUnavailable, match=rf"Lab\(hosts=2, rate='1mbit'\): the command `{missing}` .*Install iproute2"
    ):
        Lab(2, "1mbit").__enter__()


def test_without_path_there_is_no_ip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(network, "SYSTEM_DIRS", ())
    with pytest.raises(LabUnavailable, match=r"`ip` is not on PATH.*Loopback\(hosts=2\)"), Lab(2):
        pass


@pytest.mark.lab
def test_a_tool_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "tc"
    tool.write_text(
        textwrap.dedent("""\
        #!/bin/sh
        echo 'Error: Specified qdisc kind is unknown.' >&2
        exit 2
    """)
    )
    tool.chmod(0o755)
    real = network.find_tool
    monkeypatch.setattr(network, "find_tool", lambda name: str(tool) if name == "tc" else real(name))
    with pytest.raises(LabUnavailable, match=r"refuses tbf.*qdisc kind is unknown.*modprobe sch_tbf.*rate='none'"):
        Lab(2, "1mbit").__enter__()


def test_refused_namespaces_are_explained() -> None:
    lacking, way_out = network.diagnose("namespaces", "unshare: Operation not permitted")
    assert "Operation not permitted" in lacking
    assert "root" in way_out
    assert "CAP" not in way_out
    assert "--privileged" in way_out


def test_the_plan_shapes_both_ends_of_every_link() -> None:
    shaped = [step for step in network.steps(3, 10**6, "ip", "tc") if step.command[0] == "tc"]
    assert sorted((step.where, step.command[4]) for step in shaped) == [
        *((f"host{rank}", "eth0") for rank in range(3)),
        *(("switch", f"port{rank}") for rank in range(3)),
    ]
    assert all(step.command[0] == "ip" for step in network.steps(3, None, "ip", "tc"))

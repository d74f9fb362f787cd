"""What `run` promises, on both kinds of hosts: environment, lines, exit codes, deadlines."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from thinwire.lab import Lab, Loopback

Hosts = Lab | Loopback
SHOW_ENV = "import os, json; print(json.dumps(dict(os.environ)))"


@pytest.fixture(
    params=[
        pytest.param(lambda: Lab(3), id="lab", marks=pytest.mark.lab),
        pytest.param(lambda: Loopback(3), id="loopback"),
    ]
)
def hosts(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    make: Callable[[], Hosts] = request.param
    with make() as made:
        yield made


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_environment_is_torchruns(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")  # an outer torchrun's store is not ours
    lines: dict[int, str] = {}
    command = [sys.executable, "-S", "-c", SHOW_ENV]
    assert hosts.run(command, env={"A": "1"}, on_line=lambda rank, stream, line: lines.update({rank: line})) == [0] * 3
    for rank in range(3):
        env = json.loads(lines[rank])
        assert env["RANK"] == env["GROUP_RANK"] == str(rank)
        assert (env["WORLD_SIZE"], env["LOCAL_RANK"], env["LOCAL_WORLD_SIZE"]) == ("3", "0", "1")
        assert env["GLOO_SOCKET_IFNAME"] == env["NCCL_SOCKET_IFNAME"] == env["TP_SOCKET_IFNAME"] == hosts.interface
        assert (env["A"], env["OMP_NUM_THREADS"], env["THINWIRE_LAB"]) == ("1", "1", "1")
        assert env["MASTER_ADDR"] == ("127.0.0.1" if hosts.interface == "lo" else "10.77.0.1")
        assert 1024 < int(env["MASTER_PORT"]) < 65536
        assert "TORCHELASTIC_USE_AGENT_STORE" not in env


def test_what_is_asked_for_overrides(hosts: Hosts) -> None:
    seen: list[str] = []
    hosts.run(
        shell("echo $OMP_NUM_THREADS"), env={"OMP_NUM_THREADS": "2"}, on_line=lambda r, s, line: seen.append(line)
    )
    assert seen == ["2"] * 3


def test_exit_codes_by_rank_and_signals_negative(hosts: Hosts) -> None:
    order: list[tuple[int, int]] = []
    script = "case $RANK in 0) exit 0;; 1) exit 7;; 2) kill -9 $$;; esac"
    assert hosts.run(shell(script), on_exit=lambda rank, code: order.append((rank, code))) == [0, 7, -9]
    assert sorted(order) == [(0, 0), (1, 7), (2, -9)]


def test_lines_of_both_streams_whole_and_unfinished(hosts: Hosts) -> None:
    got: list[tuple[int, str, str]] = []
    hosts.run(shell("echo out; echo é >&2; printf end"), on_line=lambda *line: got.append(line))
    for rank in range(3):
        assert [line for r, s, line in got if (r, s) == (rank, "stdout")] == ["out", "end"]
        assert [line for r, s, line in got if (r, s) == (rank, "stderr")] == ["é"]


def test_much_output_does_not_block(hosts: Hosts) -> None:
    count = [0]

    def on_line(rank: int, stream: str, line: str) -> None:
        count[0] += 1

    assert hosts.run(shell("seq 50000"), on_line=on_line) == [0] * 3
    assert count[0] == 150_000


def test_without_on_line_the_streams_are_the_callers(hosts: Hosts, capfd: pytest.CaptureFixture[str]) -> None:
    hosts.run(shell("echo from $RANK"))
    assert sorted(capfd.readouterr().out.split("\n")) == ["", "from 0", "from 1", "from 2"]


def test_one_failure_ends_the_others_after_the_grace_time(hosts: Hosts) -> None:
    start = time.monotonic()
    assert hosts.run(shell("[ $RANK = 1 ] && exit 3; exec sleep 60"), grace=0.2) == [-15, 3, -15]
    assert 0.2 <= time.monotonic() - start < 30


def test_within_the_grace_time_the_others_end_by_themselves(hosts: Hosts) -> None:
    assert hosts.run(shell("[ $RANK = 1 ] && exit 3; sleep 0.3; exit 4"), grace=30) == [4, 3, 4]


def test_timeout_names_who_still_ran(hosts: Hosts) -> None:
    with pytest.raises(TimeoutError, match=r"ranks 0, 2 still ran"):
        hosts.run(shell("[ $RANK = 1 ] || exec sleep 60"), timeout=0.5)
    assert hosts.run(["true"]) == [0] * 3  # and the hosts serve the next run


def test_nothing_a_program_started_outlives_its_run(hosts: Hosts, tmp_path: Path) -> None:
    script = f"setsid sh -c 'sleep 1; touch {tmp_path}/late-'$RANK >/dev/null 2>&1 &"
    assert hosts.run(shell(script)) == [0] * 3
    time.sleep(1.5)  # longer than the orphans would have needed
    assert not list(tmp_path.iterdir())


def test_an_exception_in_on_line_ends_the_run(hosts: Hosts) -> None:
    def on_line(rank: int, stream: str, line: str) -> None:
        raise ZeroDivisionError

    start = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        hosts.run(shell("echo; exec sleep 60"), on_line=on_line)
    assert time.monotonic() - start < 30
    assert hosts.run(["true"]) == [0] * 3


def test_wrong_use_is_told(hosts: Hosts, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"program on PATH; got 'no-such-program'"):
        hosts.run(["no-such-program"])
    with pytest.raises(FileNotFoundError):
        hosts.run([])
    script = tmp_path / "not-a-program"
    script.write_bytes(b"\0\0\0\0")
    script.chmod(0o755)
    assert hosts.run([os.fspath(script)]) == [127] * 3
    with pytest.raises(RuntimeError, match="already open"), hosts:
        pass


def test_closed_hosts_say_how_to_open_them() -> None:
    with pytest.raises(RuntimeError, match=r"with Loopback\(hosts=2\) as loopback"):
        Loopback(2).run(["true"])
    for hosts in (0, 251):
        with pytest.raises(ValueError, match="1 to 250"):
            Lab(hosts)
        with pytest.raises(ValueError, match="1 to 250"):
            Loopback(hosts)
    with pytest.raises(ValueError, match="kbit"):
        Lab(2, "fast")

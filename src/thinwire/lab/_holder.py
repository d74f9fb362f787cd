"""The process that holds a lab: namespaces, links and programs live in it and die with it.

Run by path, not imported, with nothing but the standard library:  python _holder.py SOCKET_FD OWNER_PID

    owner (Lab) ──socket── holder ── program of rank 0, in the network and UTS namespace of host0
                                  └─ program of rank 1, …

The holder is the first process of a PID namespace of its own and watches its owner. When the owner closes the socket or
is gone, by whatever signal, the holder ends; the kernel then ends everything inside and frees the namespaces, which
have no names and nothing on disk. So no lab outlives its owner and none has to be cleaned up later.
Without namespaces (`Loopback`) the holder adopts orphans as a subreaper instead, and ends what it started.

Messages: 4 bytes of length, then JSON. To the holder: spawn (with three descriptors), signal, sweep.
From it: ready (with one counter file per host) or failed; exit; swept.
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

NEWNS, NEWUTS, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x04000000, 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
PDEATHSIG, SUBREAPER = 1, 36
COMMAND_SECONDS, PARTING_SECONDS, SWEEP_SECONDS = 10.0, 2.0, 5.0

libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A stage of building the lab failed: (stage, what was said)."""


def libc_call(name: str, *arguments: Any) -> None:
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    libc_call("mount", source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), None)


def read_message(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors, None at the end."""
    room = socket.CMSG_SPACE(16 * array.array("i").itemsize)
    head, ancillary, _, _ = sock.recvmsg(4, room, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    body = b""
    size = struct.unpack("!I", head)[0] if len(head) == 4 else 0
    while size and len(body) < size:
        chunk = sock.recv(size - len(body))
        if not chunk:
            size = 0
        body += chunk
    return (json.loads(body), list(fds)) if size else None


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    body = json.dumps(message).encode()
    socket.send_fds(sock, [struct.pack("!I", len(body))], list(fds))
    sock.sendall(body)


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def unshare_all() -> None:
    """Mount and PID namespaces: directly where we may, inside a user namespace of our own where we may not."""
    try:
        try:
            libc_call("unshare", NEWNS | NEWPID)
        except PermissionError:
            user, group = os.geteuid(), os.getegid()
            libc_call("unshare", NEWUSER)
            write("/proc/self/setgroups", "deny")
            write("/proc/self/uid_map", f"0 {user} 1")
            write("/proc/self/gid_map", f"0 {group} 1")
            libc_call("unshare", NEWNS | NEWPID)
    except OSError as error:
        raise Failed("namespaces", error.strerror or str(error)) from error


def mount_files(hosts_file: str) -> None:
    """Our own /proc (its numbers match our PIDs) and /etc/hosts; nothing is written to the machine's disk."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    with suppress(OSError):  # containers hide parts of /proc and then forbid a new one; theirs serves too
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV)
    try:
        write("/tmp/hosts", hosts_file)
        os.chmod("/tmp/hosts", 0o644)
        if os.path.exists("/etc/hosts"):
            mount("/tmp/hosts", "/etc/hosts", None, MS_BIND)
    finally:
        libc_call("umount2", b"/tmp", MNT_DETACH)  # the bound file stays


def build(config: dict[str, Any]) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """Build the network. Gives (network, UTS) namespace descriptors by rank, and a traffic counter file by rank."""
    stage = "namespaces"
    try:
        mount_files(config["hosts_file"])
        spaces: dict[str, tuple[int, ...]] = {}
        counters: list[int] = []
        for name in (config["switch"], *config["hosts"]):
            libc_call("unshare", NEWNET | NEWUTS)
            socket.sethostname(name)
            spaces[name] = tuple(
                os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("net", "uts")
            )
            counters.append(os.open("/proc/self/net/dev", os.O_RDONLY | os.O_CLOEXEC))
        stage = "network"
        paths = {name: f"/proc/self/fd/{fds[0]}" for name, fds in spaces.items()}
        keep = [fds[0] for fds in spaces.values()]
        for step in config["steps"]:
            libc_call("setns", spaces[step["where"]][0], NEWNET)
            command = [word.format_map(paths) for word in step["command"]]
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, pass_fds=keep)
            if done.returncode and not step["optional"]:
                said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
                raise Failed(stage, f"{' '.join(step['command'])}: {said}")
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(stage, str(error)) from error
    return [spaces[name] for name in config["hosts"]], tuple(counters[1:])


class Programs:
    """The programs that run, by PID, and how they are started, signalled and ended."""

    def __init__(self, sock: socket.socket, spaces: list[tuple[int, ...]] | None) -> None:
        self.sock, self.spaces = sock, spaces
        self.ranks: dict[int, int] = {}

    def spawn(self, rank: int, command: list[str], env: dict[str, str], cwd: str, fds: list[int]) -> None:
        pid = os.fork()
        if pid:
            self.ranks[pid] = rank
            for fd in fds:
                os.close(fd)
            return
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            for fd in self.spaces[rank] if self.spaces else ():
                libc_call("setns", fd, 0)
            for target, fd in enumerate(fds):
                os.dup2(fd, target)
            os.chdir(cwd)
            os.execvpe(command[0], command, env)
        except BaseException as error:
            os.write(2, f"cannot start {command[0]!r}: {error}\n".encode())
            os._exit(126 if isinstance(error, PermissionError) else 127)

    def signal(self, ranks: list[int], number: int) -> None:
        for pid, rank in self.ranks.items():
            if rank in ranks:
                for kill in (os.killpg, os.kill):  # the group, and the process where it left its group
                    try:
                        kill(pid, number)
                        break
                    except OSError:
                        continue

    def reap(self) -> bool:
        """Report the programs that ended; True while there are children."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid in self.ranks:
                code = os.waitstatus_to_exitcode(status)
                with suppress(OSError):  # the owner may be gone
                    send(self.sock, {"exit": self.ranks.pop(pid), "code": code})

    def _descendants(self) -> list[int]:
        parents: dict[int, int] = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
        found = [os.getpid()]
        for parent in found:
            found.extend(pid for pid, its in parents.items() if its == parent)
        return found[1:]

    def sweep(self) -> None:
        """Kill every process in here, also those that left their group, and wait until they are gone."""
        end = time.monotonic() + SWEEP_SECONDS
        while self.reap() and time.monotonic() < end:
            for pid in [-1] if self.spaces and os.getpid() == 1 else self._descendants():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
            time.sleep(0.002)

    def part(self) -> None:
        """The owner has left: ask the programs to end, then end them."""
        self.signal(list(self.ranks.values()), signal.SIGTERM)
        end = time.monotonic() + PARTING_SECONDS
        while self.ranks and self.reap() and time.monotonic() < end:
            time.sleep(0.01)
        self.sweep()


def serve(sock: socket.socket, watched: int | None, programs: Programs) -> None:
    """Obey the owner until it leaves."""
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    poll = select.poll()
    for fd in (wake, sock.fileno(), *([] if watched is None else [watched])):
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if wake in ready:
            os.read(wake, 4096)
            programs.reap()
        if watched in ready:
            return
        if sock.fileno() in ready:
            try:
                received = read_message(sock)
            except OSError:
                return
            if received is None:
                return
            message, fds = received
            match message.pop("do"):
                case "spawn":
                    programs.spawn(fds=fds, **message)
                case "signal":
                    programs.signal(**message)
                case "sweep":
                    programs.sweep()
                    send(sock, {"swept": True})


def main() -> int:
    sock, owner = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    try:  # fires when the owner is gone, whatever other process still holds the socket's other end
        watched = os.pidfd_open(owner)
    except ProcessLookupError:
        return 1
    except OSError:  # an old kernel: the socket's end must do
        watched = None
    received = read_message(sock)
    if received is None:
        return 1
    config = received[0]
    spaces: list[tuple[int, ...]] | None = None
    counters: tuple[int, ...] = ()
    try:
        if not config["hosts"]:
            libc_call("prctl", SUBREAPER, 1, 0, 0, 0)
        else:
            unshare_all()
            inner = os.fork()
            if inner:
                sock.close()
                return abs(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
            libc_call("prctl", PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            spaces, counters = build(config)
    except Failed as failed:
        send(sock, {"failed": failed.args[0], "error": failed.args[1]})
        return 1
    send(sock, {"ready": True}, counters)
    for fd in counters:
        os.close(fd)
    programs = Programs(sock, spaces)
    serve(sock, watched, programs)
    programs.part()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The network of a lab as data: which `ip` and `tc` commands run in which namespace, and what a failure of one means.

    host0 eth0 ── port0 ┐
    host1 eth0 ── port1 ┤ br0    one bridge, in a namespace of its own ("switch"):
    host2 eth0 ── port2 ┘        nothing touches the machine's own network

Both ends of every link are shaped, so each host sends *and* receives at the rate, in full duplex.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass

INTERFACE = "eth0"
SWITCH = "switch"
SYSTEM_DIRS = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # not on every user's PATH


@dataclass(frozen=True)
class Step:
    """One command, run inside the namespace named `where`; `{host0}` in it becomes that namespace's descriptor."""

    where: str
    command: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True)
class Bucket:
    """The token bucket of one direction of one link, in bits a second and bytes.

    `burst` is what may leave at line speed after a pause: 2 ms of the rate, so that short messages are not flattered
    (with less than 1 ms TCP takes the jitter of the bucket for losses and collapses), but at least 16 KiB, since a
    bucket cannot pass a packet larger than itself. Larger segments (TCP hands the interface up to 64 KiB at once) are
    cut by the kernel. `limit` is the queue: 400 ms of the rate and at least 512 KiB, deep enough that several senders
    to one host slow down without losing whole windows.

    >>> Bucket.of(100_000_000)
    Bucket(rate=100000000, burst=25000, limit=5025000)
    """

    rate: int
    burst: int
    limit: int

    @classmethod
    def of(cls, rate: int) -> Bucket:
        """The bucket for a rate in bits a second."""
        burst = max(rate // 8 // 500, 16 << 10)
        return cls(rate, burst, burst + max(rate // 8 * 4 // 10, 512 << 10))

    def qdisc(self) -> tuple[str, ...]:
        """The arguments of `tc qdisc add dev X root` that make it."""
        return ("tbf", "rate", f"{self.rate}bit", "burst", str(self.burst), "limit", str(self.limit))


def host_name(rank: int) -> str:
    """The hostname of a rank's host in a lab.

    >>> host_name(0)
    'host0'
    """
    return f"host{rank}"


def address(rank: int) -> str:
    """The IPv4 address of a rank's host in a lab.

    >>> address(0)
    '10.77.0.1'
    """
    return f"10.77.0.{rank + 1}"


def hosts_file(hosts: int) -> str:
    """What /etc/hosts reads inside the lab: every host resolves every host by name."""
    lines = ["127.0.0.1 localhost", "::1 localhost", *(f"{address(i)} {host_name(i)}" for i in range(hosts))]
    return "\n".join(lines) + "\n"


def find_tool(name: str) -> str | None:
    """The path of a command on PATH or in the system's directories, None if it is not there."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *SYSTEM_DIRS)))


def steps(hosts: int, rate: int | None, ip: str, tc: str) -> list[Step]:
    """The commands that build the network, in order; `ip` and `tc` are the paths of the two tools.

    >>> for step in steps(1, None, "ip", "tc")[-3:]:
    ...     print(step.where, *step.command)
    host0 ip link set eth0 addrgenmode none
    host0 ip address add 10.77.0.1/24 dev eth0
    host0 ip link set eth0 up
    """
    plan = [Step(SWITCH, (ip, "link", "add", "br0", "type", "bridge")), Step(SWITCH, (ip, "link", "set", "br0", "up"))]
    shape = () if rate is None else ("root", *Bucket.of(rate).qdisc())
    for rank in range(hosts):
        host, port = host_name(rank), f"port{rank}"
        there = ("peer", "name", INTERFACE, "netns", f"{{{host}}}")
        plan.append(Step(SWITCH, (ip, "link", "add", port, "type", "veth", *there)))
        plan.append(Step(SWITCH, (ip, "link", "set", port, "master", "br0")))
        if shape:
            plan.append(Step(SWITCH, (tc, "qdisc", "add", "dev", port, *shape)))
            plan.append(Step(host, (tc, "qdisc", "add", "dev", INTERFACE, *shape)))
        # no IPv6 chatter on the links, so that the byte counters show the program's traffic
        plan.append(Step(SWITCH, (ip, "link", "set", port, "addrgenmode", "none"), optional=True))
        plan.append(Step(SWITCH, (ip, "link", "set", port, "up")))
        plan.append(Step(host, (ip, "link", "set", "lo", "up")))
        plan.append(Step(host, (ip, "link", "set", INTERFACE, "addrgenmode", "none"), optional=True))
        plan.append(Step(host, (ip, "address", "add", f"{address(rank)}/24", "dev", INTERFACE)))
        plan.append(Step(host, (ip, "link", "set", INTERFACE, "up")))
    return plan


def config(hosts: int, rate: int | None, ip: str, tc: str) -> dict[str, object]:
    """What the holder process needs to know to build a lab (see `_holder.py`)."""
    return {
        "hosts": [host_name(rank) for rank in range(hosts)],
        "switch": SWITCH,
        "hosts_file": hosts_file(hosts),
        "steps": [asdict(step) for step in steps(hosts, rate, ip, tc)],
    }


def _reads(path: str, value: str) -> bool:
    try:
        with open(path) as file:
            return file.read().strip() == value
    except OSError:
        return False


def diagnose(stage: str, error: str) -> tuple[str, str]:
    """(what is missing, the way out) for a lab that could not be built: stage and error as the holder reports them."""
    if stage == "namespaces":
        switches = {
            "kernel.unprivileged_userns_clone": "0",
            "user.max_user_namespaces": "0",
            "kernel.apparmor_restrict_unprivileged_userns": "1",
        }
        off = [name for name, value in switches.items() if _reads(f"/proc/sys/{name.replace('.', '/')}", value)]
        cause = f" ({', '.join(f'{name} = {switches[name]}' for name in off)})" if off else ""
        return (
            f"the kernel allows no namespaces to this user{cause}: {error}",
            "Run as root; or let an administrator allow unprivileged user namespaces (sysctl); in a container, start "
            "it with --privileged, or with --cap-add SYS_ADMIN --cap-add NET_ADMIN and seccomp and AppArmor profiles "
            "that let them through.",
        )
    for word, module in (("tbf", "sch_tbf"), ("veth", "veth"), ("bridge", "bridge")):
        if f" {word} " in f" {error} " or (stage == "network" and f"type {word}" in error):
            return (
                f"the kernel refuses {word}: {error}",
                f"Load the module as root (modprobe {module})"
                + (", or ask for rate='none'." if word == "tbf" else "."),
            )
    return f"{stage} failed: {error}", "Run as root, or where `ip link add type veth` works."

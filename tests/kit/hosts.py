"""Several hosts on one machine: network namespaces on a bridge, with links that can really be cut.

A host has its own address, host id and boot id; the pool's servers listen on the bridge. All of it
goes with `Network.close`, which needs no order from the test. Needs root, `ip` and `nft`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

DROP, REJECT = "drop", "reject with tcp reset"
TCP = "meta l4proto tcp"


def missing() -> str | None:
    """What this computer lacks for hosts of its own, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    lacking = [name for name in ("ip", "nft", "tc") if shutil.which(name) is None]
    return f"not installed: {', '.join(lacking)} (apt: iproute2, nftables)" if lacking else None


@dataclass(frozen=True)
class Host:
    """One namespace, joined to the bridge by a cable: `outer` is its end there, `eth` the host's own."""

    name: str
    namespace: str
    outer: str
    address: str
    gateway: str

    @property
    def environment(self) -> dict[str, str]:
        """What makes an agent in here one of a host of its own."""
        return {
            "MUSTER_HOST_ID": self.namespace,
            "MUSTER_BOOT_ID": f"boot-{self.namespace}",
            "MUSTER_ADDRESS": self.address,
        }

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command is preceded by to run in here; the process stays the same."""
        return ("ip", "netns", "exec", self.namespace)

    def cut(self) -> None:
        """Pull the cable."""
        _run("ip", "link", "set", self.outer, "down")

    def lose_route(self) -> None:
        """Let what the host sends go nowhere, without a word."""
        _run("ip", "-n", self.namespace, "route", "replace", "blackhole", f"{self.gateway}/32")

    def filter(self, what: str, coming: str, going: str) -> None:
        """A firewall: what comes in, what goes out (DROP, REJECT or `accept`), for packets that match `what`."""
        chains = "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; {what} {verdict}; }}\n"
            for hook, verdict in (("input", coming), ("output", going))
        )
        _run(*self.enter, "nft", "-f", "-", words=f"{_table('')}delete table inet faults\n{_table(chains)}")

    def slow(self, rate: str = "128kbit") -> None:
        """Let what the host sends trickle."""
        _run("tc", "-n", self.namespace, "qdisc", "replace", "dev", "eth", *_bucket(rate))

    def mend(self) -> None:
        """Undo every fault of the link."""
        _run("ip", "link", "set", self.outer, "up")
        _run("ip", "-n", self.namespace, "route", "flush", "type", "blackhole")
        _run(*self.enter, "nft", "flush", "ruleset")
        _try("tc", "-n", self.namespace, "qdisc", "del", "dev", "eth", "root")


# What can be wrong with a host's link; `mend` undoes each of them.
LINKS: dict[str, Callable[[Host], None]] = {
    "cut": Host.cut,
    "lost route": Host.lose_route,
    # Its firewall resets what comes and swallows what goes: the call is refused though the agent lives.
    "rejecting": lambda host: host.filter(TCP, REJECT, "accept"),
    "deaf": lambda host: host.filter(TCP, DROP, "accept"),
    "mute": lambda host: host.filter(TCP, "accept", DROP),
    "slow": Host.slow,
}


@dataclass
class Network:
    """A bridge with an address on which servers may listen; the name of its interface is its lock."""

    number: int
    hosts: list[Host] = field(default_factory=list)

    @classmethod
    def make(cls) -> Network:
        """A network that no other test process uses."""
        for number in random.sample(range(256), 256):
            if _try("ip", "link", "add", f"muster{number}", "type", "bridge"):
                network = cls(number)
                _run("ip", "address", "add", f"{network.address}/24", "dev", network.bridge)
                _run("ip", "link", "set", network.bridge, "up")
                return network
        raise RuntimeError("256 test networks exist; `ip link` shows them")

    @property
    def bridge(self) -> str:
        return f"muster{self.number}"

    @property
    def address(self) -> str:
        """The address of the servers. 198.18.0.0/15 is set aside for tests: nothing of the world is hidden."""
        return f"198.18.{self.number}.1"

    def host(self, name: str) -> Host:
        """A new host."""
        number = len(self.hosts) + 2
        address = f"198.18.{self.number}.{number}"
        host = Host(name, f"{self.bridge}-{name}", f"mu{self.number}v{number}", address, self.address)
        self.hosts.append(host)
        inner = ("ip", "-n", host.namespace)
        _run("ip", "netns", "add", host.namespace)
        _run("ip", "link", "add", host.outer, "type", "veth", "peer", "name", "eth", "netns", host.namespace)
        _run("ip", "link", "set", host.outer, "master", self.bridge, "up")
        _run(*inner, "address", "add", f"{address}/24", "dev", "eth")
        _run(*inner, "link", "set", "eth", "up")
        _run(*inner, "link", "set", "lo", "up")
        return host

    def clear(self) -> None:
        """Remove the hosts, whatever was cut."""
        for host in self.hosts:
            _try("ip", "link", "del", host.outer)
            _try("ip", "netns", "del", host.namespace)
        self.hosts.clear()

    def close(self) -> None:
        """Remove hosts and bridge."""
        self.clear()
        _try("ip", "link", "del", self.bridge)


@contextmanager
def new_network() -> Iterator[Network]:
    """A network for as long as the block runs; a test without the means for one says what is missing."""
    if why := missing():
        pytest.skip(why)
    network = Network.make()
    try:
        yield network
    finally:
        network.close()


def _table(chains: str) -> str:
    return f"table inet faults {{\n{chains}}}\n"


def _bucket(rate: str) -> tuple[str, ...]:
    return ("root", "tbf", "rate", rate, "burst", "4kb", "latency", "1s")


def _run(*argv: str, words: str | None = None) -> None:
    done = subprocess.run(argv, input=words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _try(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0

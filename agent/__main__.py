"""The agent, `python -m agent`: its wiring, in the order in which an agent comes to life.

The host's lock comes first, and what the last life has left is killed before anything else begins: two lives of one
worker may never run jobs at once. The worker joins only then.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from dataclasses import replace
from functools import partial

from agent.attempt.outbox import Outbox
from agent.attempt.table import Attempts
from agent.beat import directives
from agent.beat.bell import BellListener
from agent.beat.process import Begin
from agent.beat.pulse import Pulse
from agent.gpus.inventory import Inventory, inventory
from agent.gpus.load import HostLoad
from agent.ipc.channel import SlotSetup
from agent.ipc.deadline import make_deadline
from agent.join.address import Address
from agent.join.declare import Declared, declared
from agent.join.identity import Identity, identify
from agent.join.joining import Joined, Joining, JoinStopped
from agent.join.lock import HostLock
from agent.log.posting import Posting
from agent.log.uploader import Uploader
from agent.main import AgentParts, Main
from agent.processes import become_subreaper, carried_by, kill_all
from agent.redis_client import connect
from agent.slot.starter import SlotProcesses
from app.pool.agent_http import Admission, Offer, WhoIs
from app.pool.backoff import Backoff, Outage
from app.pool.errors import PoolError, Unavailable
from app.pool.keys import Keys
from app.pool.loop import Bell, start_thread, stop_on_signals
from app.pool.model import MIB
from app.pool.settings import AgentSettings

log = logging.getLogger(__name__)

LOGS = "logs"  # the folder of the spool, in the agent's home
LAST_LIFE_S = 10.0  # in which the processes of this agent's last life must be gone
MOST_PAUSE_S = 5.0  # between tries to reach a server that is not there yet
VERSION = "0.1.0"


def main() -> int:
    """Run the agent. Returns 0 after a good-bye; otherwise 1, with a line in the log that says what to do."""
    logging.basicConfig(format="%(levelname)s agent: %(message)s", level=os.environ.get("MUSTER_LOG", "INFO"))
    asked = Bell()
    stop_on_signals(asked)
    try:
        live(AgentSettings.from_environment(), asked)
    except JoinStopped:
        return 0
    except PoolError as error:
        log.error("%s", error)
        return 1
    return 0


def live(settings: AgentSettings, asked: Bell) -> None:
    """Live one incarnation, from the lock to the good-bye. Raises PoolError, JoinStopped."""
    become_subreaper()
    cards = _chosen(inventory(), settings.gpu_uuids)
    identity = identify(settings, cards.gpus)
    lock = HostLock.open(identity.digest)
    _end_last_life(lock)
    offered = declared(settings.workflows_file)
    address = Address(settings.address, settings.port) if settings.address else None
    offer = _offer(settings, identity, cards, offered, address)
    if address:
        start_thread("address", address.run, asked.fail)  # a good-bye: what runs may save its state
    joining = Joining(settings, asked, partial(_introduce, address, offer))
    joined = _join(joining, offer, asked)
    lock.note(joined.admission.worker)
    log.info("joined: worker=%s incarnation=%d", joined.admission.worker, joined.admission.incarnation)
    _work(settings, joined, offer, cards, lock, asked)
    if asked.failed:
        raise PoolError("thread address died")


def _work(settings: AgentSettings, joined: Joined, offer: Offer, cards: Inventory, lock: HostLock, asked: Bell) -> None:
    admission, deadline_fd, bell = joined.admission, make_deadline(), Bell()
    worker, incarnation, keys = admission.worker, admission.incarnation, Keys(admission.prefix)
    outbox = Outbox(connect(admission.redis_url), keys.out(worker))
    uploader = Uploader(settings.home / LOGS, Posting(settings.server, admission.token), settings.log_spool_mib * MIB)
    uploader.find_leftovers()
    pulse = Pulse(_begin(joined, offer, deadline_fd))
    load = HostLoad(cards)
    slots = SlotProcesses(_setup(settings, joined, offer, deadline_fd, lock), settings.slots)

    def own() -> set[int]:
        return slots.pids() | load.pids() | {pulse.pid}

    attempts = Attempts(worker, incarnation, outbox, uploader, deadline_fd, own, load)
    read = partial(directives.read, keys, worker)
    parts = AgentParts(worker, incarnation, pulse, slots, attempts, outbox, uploader, load, read, settings.grace_s, own)
    agent = Main(parts, asked, bell)
    bell_listener = BellListener(admission.redis_url, keys.bell_of(worker), agent.rung, agent.subscribed)
    start_thread("bell", bell_listener.run, partial(agent.thread_died, "bell"))
    start_thread("outbox", outbox.run, partial(agent.thread_died, "outbox"))
    start_thread("uploader", uploader.run, partial(agent.thread_died, "uploader"))
    agent.run()


def _chosen(host: Inventory, uuids: tuple[str, ...] | None) -> Inventory:
    """The cards that this worker is bound to. Raises PoolError when one of them is not there."""
    if uuids is None:
        return host
    missing = set(uuids) - {gpu.uuid for gpu in host.gpus}
    if missing:
        reason = host.reason or "see `nvidia-smi -L`"
        raise PoolError(f"MUSTER_GPUS names {min(missing)}, which this host does not have ({reason})")
    return replace(host, gpus=tuple(gpu for gpu in host.gpus if gpu.uuid in uuids))


def _end_last_life(lock: HostLock) -> None:
    """Kill the workflows of the last life: they are alive where main, slots and guards were killed in one blow."""
    former = lock.former_worker()
    if former and (left := kill_all(partial(carried_by, worker=former), LAST_LIFE_S)):
        log.error("cannot be killed: worker=%s pids=%s", former, sorted(left))
    lock.wait_for_the_last(LAST_LIFE_S)


def _offer(
    settings: AgentSettings, identity: Identity, cards: Inventory, offered: Declared, address: Address | None
) -> Offer:
    return Offer(
        machine_id=identity.machine_id,
        boot_id=identity.boot_id,
        hostname=socket.gethostname(),
        name=settings.name,
        slots=settings.slots,
        version=VERSION,
        pid=os.getpid(),
        address=settings.address,
        port=address.port if address else None,
        gpus=cards.gpus,
        gpu_reason=cards.reason,
        driver=cards.driver,
        workflows=offered.workflows,
        not_offered=offered.not_offered,
    )


def _introduce(address: Address | None, offer: Offer, admission: Admission) -> None:
    """Let callers of the address hear who is here, before the server calls it."""
    if address is None:
        return
    address.introduce(
        WhoIs(admission.worker, admission.incarnation, offer.boot_id, offer.hostname, offer.name, offer.version)
    )


def _join(joining: Joining, offer: Offer, asked: Bell) -> Joined:
    """Join, and try for ever while no server answers: a worker may boot before its server. Raises JoinStopped."""
    away = Outage(log, "trying on")
    while True:
        try:
            return joining.join(offer)
        except Unavailable as error:
            if not asked.wait(away.failed(error, Backoff(0.4, MOST_PAUSE_S))):
                raise JoinStopped from None


def _begin(joined: Joined, offer: Offer, deadline_fd: int) -> Begin:
    admission = joined.admission
    return Begin(
        redis_url=admission.redis_url,
        prefix=admission.prefix,
        worker=admission.worker,
        incarnation=admission.incarnation,
        boot_id=offer.boot_id,
        deadline_fd=deadline_fd,
        wanted=joined.wanted,
    )


def _setup(settings: AgentSettings, joined: Joined, offer: Offer, deadline_fd: int, lock: HostLock) -> SlotSetup:
    return SlotSetup(
        worker=joined.admission.worker,
        incarnation=joined.admission.incarnation,
        slot=0,
        start=0,
        main_pid=os.getpid(),
        deadline_fd=deadline_fd,
        lock_fd=lock.fd,
        rq_redis_url=joined.admission.rq_redis_url,
        output_folder=str(settings.output_folder),
        log_folder=str(settings.home / LOGS),
        workflows=offer.workflows,
        gpus=offer.gpus,
    )


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a lost terminal is no reason to leave
    sys.exit(main())

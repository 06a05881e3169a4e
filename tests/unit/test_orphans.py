"""What main does about the processes of a guard that has let go of its line: real ones, below a script that is main."""

from __future__ import annotations

import subprocess
import sys

# Main, a slot, its guard, and a workflow that the guard has forked: three processes, each the next one's parent.
# The guard closes its line and lives on, as one does for a moment that is being killed.
MAIN = """
import os, signal, socket, time
from agent.attempt.handle import SlotRef
from agent.attempt.table import Attempts
from agent.gpus.inventory import Inventory
from agent.gpus.load import HostLoad
from agent.ipc.deadline import make_deadline
from agent.ipc.link import Link
from agent.processes import become_subreaper, state_of
from app.pool.model import JobId, WorkerId

class Outbox:
    def put(self, report): pass
    def forget(self, job, attempt): pass

class Uploader:
    def over(self, job, attempt): pass

become_subreaper()
ours, theirs = socket.socketpair()
reading, writing = os.pipe()
slot = os.fork()
if slot == 0:
    guard = os.fork()
    if guard == 0:
        ours.close()
        theirs.close()
        workflow = os.fork()
        if workflow:
            os.write(writing, b"%d %d" % (os.getpid(), workflow))
        signal.pause()
    theirs.close()
    ours.close()
    os.wait()
    signal.pause()
theirs.close()
guard, workflow = map(int, os.read(reading, 100).split())
os.kill(workflow, 0)

attempts = Attempts(WorkerId("w"), 1, Outbox(), Uploader(), make_deadline(), lambda: {slot}, HostLoad(Inventory()))
said = {"job": "j", "attempt": 1, "nonce": "n", "pid": guard, "strict": False, "max_orphan_s": 60, "timeout_s": None}
said |= {"gpus": [], "free_mb": 0, "others_mb": None}
handle = attempts.introduced(said, SlotRef(0, slot), Link(ours), time.monotonic())
while handle.gone_at is None:
    attempts.heard(handle, time.monotonic())
while attempts.busy(0):
    attempts.step(time.monotonic(), 0)
print(*("gone" if (state_of(pid) or "Z")[0] in "ZX" else "alive" for pid in (guard, workflow)))
for pid in (workflow, guard, slot):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


def test_an_attempt_is_not_buried_before_its_guard_is_dead_and_nothing_is_left_below_it() -> None:
    done = subprocess.run([sys.executable, "-c", MAIN], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.split() == ["gone", "gone"], done.stderr


STRAYS = """
import os, signal
from agent.attempt.orphans import strays
from agent.processes import become_subreaper, state_of

become_subreaper()
read, write = os.pipe()
child = os.fork()
if child == 0:
    grandchild = os.fork()
    if grandchild:
        os.write(write, b"%d" % grandchild)
    signal.pause()
grandchild = int(os.read(read, 100))
real = state_of

def dies_meanwhile(pid):  # between the look at our children and that at their own
    if pid == child:
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return real(pid)

import agent.attempt.orphans as orphans, agent.processes as processes
processes.state_of = orphans.state_of = dies_meanwhile
print(grandchild in strays(set()))
os.kill(grandchild, signal.SIGKILL)
"""


def test_what_a_child_leaves_that_dies_while_it_is_looked_at_is_not_overlooked() -> None:
    done = subprocess.run([sys.executable, "-c", STRAYS], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == "True", done.stderr

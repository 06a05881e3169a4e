"""Workflows that do what ordinary Python programs do, in the words of the standard library alone (Python 3.9)."""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import importlib.util
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

from agent.context import Job, Permanent

SOON_S = 30  # for what is due at once, on a busy machine


def pool(job: Job) -> Any:
    """What a pool of processes answers, which is terminated at its end, as ever."""
    with _context(job).Pool(4) as workers:
        return workers.map(abs, [-1, -2, -3, -4])


def terminated(job: Job) -> Any:
    """How processes end that are terminated when they were just started, and one that has begun."""
    reading, writing = _context(job).Pipe(duplex=False)
    late = _context(job).Process(target=_say_and_sleep, args=(writing,))
    late.start()
    assert reading.poll(SOON_S)
    early = [_context(job).Process(target=_say_and_sleep, args=(writing,)) for _ in range(5)]
    for process in early:
        process.start()
        process.terminate()
    late.terminate()
    for process in (late, *early):
        process.join(SOON_S)
    return sorted({process.exitcode for process in (late, *early)})


def _say_and_sleep(writing: Any) -> None:
    writing.send("here")
    time.sleep(600)


def executor(job: Job) -> Any:
    """What an executor's processes answer, asked by several threads at once."""
    with ProcessPoolExecutor(2, mp_context=_context(job)) as processes, ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda number: processes.submit(abs, number).result(), [-1, -2, -3, -4]))


def managed(job: Job) -> Any:
    """What two processes have put into a manager's list and taken from a queue."""
    context = _context(job)
    with context.Manager() as manager:
        found, queue = manager.list(), context.Queue()
        processes = [context.Process(target=_move, args=(queue, found)) for _ in range(2)]
        for process in processes:
            process.start()
        for number in (1, 2):
            queue.put(number)
        for process in processes:
            process.join(SOON_S)
        return sorted(found)


def _move(queue: Any, found: Any) -> None:
    found.append(queue.get(timeout=SOON_S))


def loader(job: Job) -> Any:
    """Batches as a loader of training data makes them: workers that stay, index queues, a result in shared memory."""
    context = _context(job)
    done, answers = context.Event(), context.Queue()
    questions = [context.Queue() for _ in range(2)]
    workers = [context.Process(target=_load, args=(asked, answers, done), daemon=True) for asked in questions]
    for worker in workers:
        worker.start()
    for index in range(6):
        questions[index % 2].put(index)
    batches = sorted(_batch(answers.get(timeout=SOON_S)) for _ in range(6))
    done.set()
    for worker, asked in zip(workers, questions):
        asked.put(None)
        worker.join(SOON_S)
    return [batches, [worker.exitcode for worker in workers]]


def _load(asked: Any, answers: Any, done: Any) -> None:
    while not done.is_set():
        index = asked.get(timeout=SOON_S)
        if index is None:
            return
        memory = shared_memory.SharedMemory(create=True, size=8)
        assert memory.buf is not None
        memory.buf[:1] = bytes([index * index])
        memory.close()
        answers.put((index, memory.name))


def _batch(answer: Any) -> Any:
    index, name = answer
    memory = shared_memory.SharedMemory(name)
    value = bytes(memory.buf or b"")[0]
    memory.close()
    memory.unlink()
    return [index, value]


def streams(_: Job) -> Any:
    """What its own streams and those of a program that is given them have written, and of what kind they are."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        print("printed")
        subprocess.run(["echo", "by a program"], stdout=sys.stdout, check=True)
        sys.stdout.buffer.write(b"bytes\n")
        sys.stdout.write("é without an end")
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        file.seek(0)
        written = file.read().decode()
    faulthandler.enable()  # wants a stream with a descriptor
    kinds = [sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.encoding, sys.stdin.read()]
    return {"written": written.splitlines(), "kinds": kinds, "argv": sys.argv[1:]}


def asynchronous(_: Job) -> Any:
    """What asyncio hears of a program, and of a signal."""
    return asyncio.run(_hear())


async def _hear() -> Any:
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, heard.set)
    process = await asyncio.create_subprocess_exec("sh", "-c", "echo heard; exit 3", stdout=subprocess.PIPE)
    said, _ = await asyncio.wait_for(process.communicate(), SOON_S)
    os.kill(os.getpid(), signal.SIGUSR2)
    await asyncio.wait_for(heard.wait(), SOON_S)
    return [said.decode().strip(), process.returncode]


def signalled(job: Job) -> Any:
    """The signals that its own handlers have heard, once it was asked to stop too; it sees that all the same."""
    heard: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, lambda number, _: heard.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    os.kill(os.getpid(), signal.SIGINT)
    job.progress(0.1, "ask me")
    while len(heard) < 3 or not job.stopping:
        time.sleep(0.01)
    return sorted(heard)


def imported(job: Job) -> Any:
    """What a spawned process has imported of the agent's own affairs, and the file of its `__main__`."""
    with _context(job).Pool(1) as workers:
        return workers.apply(_agents_affairs)


def _agents_affairs() -> Any:
    affairs = ("agent.slot", "agent.attempt", "agent.runners", "rq", "redis")
    main = sys.modules["__main__"]
    return [sorted(name for name in sys.modules if name.startswith(affairs)), getattr(main, "__file__", None)]


def called_in_a_fork(job: Job) -> Any:
    """What a forked process is answered that calls the job as its parent does; the parent goes on."""
    calls = {
        "progress": lambda: job.progress(0.1),
        "stopping": lambda: job.stopping,
        "save": lambda: job.checkpoint({}),
    }
    _calls.update(calls)
    with multiprocessing.get_context("fork").Pool(1) as workers:
        answers = workers.map(_answer, calls)
    job.progress(0.5, "the line is whole")
    return answers


_calls: dict[str, Any] = {}


def _answer(name: str) -> str:
    try:
        _calls[name]()
    except RuntimeError as error:
        return str(error)
    return "was taken"


def ended(job: Job) -> None:
    """Leave what is done at the end of a program: a thread that still writes, an exit handler, a logger's last line."""
    folder = Path(str(job.params["mark"]))
    threading.Thread(target=_touch_later, args=(folder / "thread",)).start()
    atexit.register((folder / "handler").touch)
    logging.basicConfig(filename=folder / "log")
    logging.info("not by default")
    logging.warning("logged")


def _touch_later(path: Path) -> None:
    time.sleep(0.3)
    path.touch()


def own(job: Job) -> Any:
    """The Python that runs it: its version and folder, what of the agent's packages it finds, and what it is given."""
    agents = [name for name in ("redis", "rq", "psycopg") if importlib.util.find_spec(name)]
    said = {"version": list(sys.version_info[:2]), "prefix": sys.prefix, "agents": agents}
    return {**said, "argv": sys.argv[1:], "here": str(Path.cwd()), "job": os.environ["MUSTER_JOB"]}


def saved(job: Job) -> Any:
    """The parts of a work that every attempt adds one to; each is a checkpoint's file."""
    kept = job.resume.files if job.resume else ()
    part = job.output_dir / f"part-{len(kept)}"
    part.write_text(f"part {len(kept)}")
    paths = job.checkpoint({"done": len(kept) + 1}, [*kept, part])
    job.worker.add_tag("model:sdxl")
    job.progress(0.5, "half")
    job.log("a line")
    return [path.read_text() for path in paths]


def hopeless(_: Job) -> None:
    """Fail for good."""
    raise Permanent("no such film")


def steady(job: Job) -> None:
    """Say progress until the lease is lost."""
    while True:
        job.progress(0.1, "on it")
        time.sleep(0.01)


def forgetful(_: Job) -> Any:
    """The name of shared memory that is left behind."""
    memory = shared_memory.SharedMemory(create=True, size=8)
    memory.close()
    return memory.name


def holding(job: Job) -> Any:
    """Hold shared memory, whose name is told, for ever, whatever is asked."""
    memory = shared_memory.SharedMemory(create=True, size=8)
    job.progress(0.1, memory.name)
    while True:
        time.sleep(60)


def path(_: Job) -> Any:
    """The folders of modules that a program is told of."""
    return os.environ.get("PYTHONPATH")


def last_words(_: Job) -> None:
    """Print half a line, and fail."""
    sys.stdout.write("last words")
    raise ValueError("no more")


def _context(job: Job) -> Any:
    return multiprocessing.get_context(str(job.params.get("how") or "fork"))

"""Run a script in several processes that form one launch, as torchrun does, without its agent."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time


def launch(*arguments, world=2, timeout=300, **environment):
    """Start `world` processes; returns their finished results, by rank.

    Where one fails, the others would wait for it: they are stopped, the failed one first in the
    list. What is not done in time says where it stands, and ends with an error.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
        **environment,
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        paths = [os.path.join(folder, f"{rank}") for rank in range(world)]
        started = [
            subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.DEVNULL,
                stderr=stack.enter_context(open(path, "w")),
            )
            for rank, path in enumerate(paths)
        ]
        failed = _wait(started, timeout)
        finished = []
        for process, path in zip(started, paths, strict=True):
            with open(path) as output:
                text = output.read()
            done = subprocess.CompletedProcess(process.args, process.returncode, stderr=text)
            finished.append(done)
    return [finished[rank] for rank in failed] + [
        done for rank, done in enumerate(finished) if rank not in failed
    ]


def _wait(started, timeout):
    """Ranks that failed by themselves, once all are done or stopped."""
    end = time.monotonic() + timeout
    while True:
        codes = [process.poll() for process in started]
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed or None not in codes:
            break
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGABRT)
        process.wait()
    return failed

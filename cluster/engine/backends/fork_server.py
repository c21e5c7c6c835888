"""The process that worker processes are forked from: it imports modules once, and forks for each worker.

`process_backend` runs this file as a program:

    python fork_server.py SYS_PATH MODULE… < socket of the driver

The driver sends requests on the socket:

    f + the worker's end of its pipe    forks a worker; the answer is its process id, or -1
    w + process id                      waits for a worker; the answer is its wait status, or -1 if unknown

The server has one thread and no open files except those it was given, so forking is safe here. It is not
safe in the driver. Each worker leads its own process group, which is killed as a whole, and ends when the
driver's end of its pipe closes.

The standard library's forkserver is slower and does not meet the requirements of the engine (Python 3.11):

- The first worker answers after 350 ms here and after 500 ms there; each further worker after 6 ms and 20 ms
  (medians of three runs on a machine with two cores, numpy and the fetch stage preloaded).
- It ignores the driver's `sys.path` while it preloads modules, and does not report a failed import.
- Its environment, output and session are those of the driver. One thread per library could only be set in the
  driver's environment, workers would print on the terminal, and Ctrl-C would reach them.
- There is one per process, so other libraries would share it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

PROCESS_NAME = "mien-worker"
"""Of worker processes, as `top` shows it."""
FORK, WAIT = b"f", b"w"
NUMBER = struct.Struct("=q")
_WAIT_SECONDS = 2.0


def main() -> None:
    sys.path[:] = json.loads(sys.argv[1])
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.freeze()  # imported objects are no garbage of a worker, and their memory stays shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends the server
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored, the wait status of a worker would be lost
    with socket.socket(fileno=os.dup(0)) as control, suppress(ConnectionError):  # the driver has ended
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not request:
                return
            if request == FORK:
                answer = _fork(descriptors, control)
            else:
                answer = _wait_for(NUMBER.unpack(_receive_exactly(control, NUMBER.size))[0])
            control.sendall(NUMBER.pack(answer))


def _fork(descriptors: list[int], control: socket.socket) -> int:
    if not descriptors:
        return -1  # too many open files
    try:
        pid = os.fork()
    except OSError:
        os.close(descriptors[0])
        return -1
    if pid == 0:
        _become_worker(descriptors[0], control)
    os.setpgid(pid, pid)  # here and in the worker: it must be done before the driver learns the process id
    os.close(descriptors[0])
    return pid


def _become_worker(descriptor: int, control: socket.socket) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)
        control.close()
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
        os.set_inheritable(descriptor, False)
        connection = Connection(descriptor)
        # If child processes of the worker held the pipe open, the driver would not notice its death.
        os.register_at_fork(after_in_child=connection.close)
        with suppress(OSError):  # there may be no /proc
            Path("/proc/self/comm").write_text(PROCESS_NAME)

        from mien.cluster.engine.actor import serve

        serve(connection)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _wait_for(pid: int) -> int:
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return -1
        if ended:
            return status
        time.sleep(0.005)
    return -1


def _receive_exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = control.recv(size - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


if __name__ == "__main__":
    main()

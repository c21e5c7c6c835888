"""Where worker processes come from: imports once, forks for each. Run as a program by `on_processes`.

    python fork_server.py SYS_PATH MODULE… < socket of the driver

The driver asks on the socket:

    f + the worker's end of its pipe    a worker is forked; the answer is its process id, or -1
    b + process id                      how did it end? its wait status, or -1 where nobody knows

One thread, nothing open but what it was given: forking is safe here, as it is not in the driver. Each worker
leads a process group of its own, which is killed whole, and ends when the driver's end of its pipe closes.
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
from typing import NoReturn

FORK, BURY = b"f", b"b"
NUMBER = struct.Struct("=q")
_BURY_SECONDS = 2.0


def main() -> None:
    sys.path[:] = json.loads(sys.argv[1])
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.freeze()  # what was imported is garbage of no worker, and stays shared memory
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ended in order, by its driver
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, nobody could ask how a worker ended
    with socket.socket(fileno=os.dup(0)) as control, suppress(ConnectionError):  # the driver has gone
        while True:
            asked, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not asked:
                return
            if asked == FORK:
                answer = _fork(descriptors, control)
            else:
                answer = _bury(NUMBER.unpack(_exactly(control, NUMBER.size))[0])
            control.sendall(NUMBER.pack(answer))


def _fork(descriptors: list[int], control: socket.socket) -> int:
    if not descriptors:
        return -1  # too many files are open
    try:
        pid = os.fork()
    except OSError:
        os.close(descriptors[0])
        return -1
    if pid == 0:
        _be_worker(descriptors[0], control)
    os.setpgid(pid, pid)  # whoever is first: it is done when the driver hears of the worker
    os.close(descriptors[0])
    return pid


def _be_worker(descriptor: int, control: socket.socket) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)
        control.close()
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
        os.set_inheritable(descriptor, False)
        connection = Connection(descriptor)
        # Held open by what the worker starts, the pipe would hide its death.
        os.register_at_fork(after_in_child=connection.close)

        from mien.cluster.engine.backends.serving import serve

        serve(connection)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _bury(pid: int) -> int:
    give_up_at = time.monotonic() + _BURY_SECONDS
    while time.monotonic() < give_up_at:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return -1
        if ended:
            return status
        time.sleep(0.005)
    return -1


def _exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = control.recv(size - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


if __name__ == "__main__":
    main()

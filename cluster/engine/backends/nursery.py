"""Where worker processes come from: imports once, forks for each. Run as a program by `on_processes`.

    python nursery.py SYS_PATH MODULE… < socket of the driver

The driver asks on the socket:

    f + the worker's end of its pipe    a worker is forked; the answer is its process id
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
from multiprocessing.connection import Connection

FORK, BURY = b"f", b"b"
NUMBER = struct.Struct("=q")
_BURY_SECONDS = 2.0


def main() -> None:
    sys.path[:] = json.loads(sys.argv[1])
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.freeze()  # what was imported is garbage of no worker, and stays shared memory
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ended in order, by its driver
    with socket.socket(fileno=os.dup(0)) as control:
        while True:
            asked, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not asked:
                return
            if asked == FORK:
                control.sendall(NUMBER.pack(_fork(descriptors[0], control)))
            else:
                control.sendall(NUMBER.pack(_bury(NUMBER.unpack(_exactly(control, NUMBER.size))[0])))


def _fork(descriptor: int, control: socket.socket) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            control.close()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            _serve(Connection(descriptor))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    os.setpgid(pid, pid)  # whoever is first: it is done when the driver hears of the worker
    os.close(descriptor)
    return pid


def _serve(connection: Connection) -> None:
    from cluster.engine.backends.serving import serve

    serve(connection)


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

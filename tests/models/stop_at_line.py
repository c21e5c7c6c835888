"""Runs a training program until it prints a given line, then sleeps, so that a test can kill it there.

python -m tests.models.stop_at_line "step 9 " PROGRAM ARGUMENTS…
"""

from __future__ import annotations

import builtins
import runpy
import sys
import time
from typing import Any


def main() -> None:
    _, last, program, *arguments = sys.argv
    original = builtins.print

    def print_and_stop(*parts: object, **how: Any) -> None:
        original(*parts, **how)
        if "".join(map(str, parts[:1])).startswith(last):
            time.sleep(600)

    builtins.print = print_and_stop
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

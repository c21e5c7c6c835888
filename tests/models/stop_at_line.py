"""A training program that goes no further than to a step: who kills it there does, however late he comes.

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
    say = builtins.print

    def say_and_stop(*parts: object, **how: Any) -> None:
        say(*parts, **how)
        if "".join(map(str, parts[:1])).startswith(last):
            time.sleep(600)

    builtins.print = say_and_stop
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

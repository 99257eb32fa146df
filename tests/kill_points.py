"""Train runs in child processes that die by SIGKILL before their n-th change to a folder.

Usage: python kill_points.py TABLE CONFIG_JSON FOLDER FIRST STEP

Prints, for each kill point, the run folder whose training was killed there once and then started
again. Children are forked, so the heavy imports happen once; the first point that a whole run
does not reach ends the list.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from postsense.config import parse_config
from postsense.data.loading import load_posts
from postsense.runs import train_run

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}


def die_before_change(number: int, folder: Path) -> None:
    """Kill this process when it is about to change folder for the number-th time, from 1."""
    changes = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal changes
        if event in CHANGES and str(arguments[0]).startswith(str(folder)):
            changes += 1
            if changes == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def in_child(action: Callable[[], object]) -> int:
    """The exit status of a forked process that runs the action; negative: the signal it died of."""
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    table, config_json, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    point, step = int(sys.argv[4]), int(sys.argv[5])
    config = parse_config(json.loads(config_json))

    def train(out: Path, kill_at: int | None = None) -> None:
        if kill_at is not None:
            die_before_change(kill_at, out)
        train_run(load_posts(table), config, out, seeds=2)

    while True:
        out = folder / f"killed-{point}"
        status = in_child(lambda out=out, point=point: train(out, point))
        if status == 0:
            break
        assert status == -signal.SIGKILL, status
        assert in_child(lambda out=out: train(out)) == 0, f"cannot go on after kill point {point}"
        print(out, flush=True)
        point += step


if __name__ == "__main__":
    main()

"""The command line in a process of its own, some verbs after each other."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SCRIPT = """
import json, sys
sys.path.insert(0, {tests!r})
{prepare}
from postsense.commands.main import main
for words in json.loads(sys.argv.pop()):
    sys.argv = ["postsense", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def run_verbs(
    verbs: Sequence[Sequence[object]],
    *,
    prepare: str = "",
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run command lines until one fails. What they print is UTF-8.

    Args:
        prepare: code that is run before postsense is imported.
        before: words of a command that runs the process, such as strace.
        environment: all of its environment variables; None: ours.
    """
    script = SCRIPT.format(tests=str(Path(__file__).parent), prepare=prepare)
    lines = json.dumps([[str(word) for word in words] for words in verbs])
    return subprocess.run(
        [*before, sys.executable, "-c", script, lines],
        env=os.environ if environment is None else environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )

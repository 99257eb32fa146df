"""No command asks the network: seen where the system is asked, in every thread, child and library.

Each library beneath is silent by itself on a machine of CI, so the commands run with none of the
variables that tell one. All verbs under strace take a minute; that Python itself asks for nothing
is seen at once.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fresh_process import run_verbs
from postsense.data.synthetic import write_synthetic_posts

TRACE = ("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=network", "-e", "signal=none", "-o")
ASKING = re.compile(r"AF_INET6?\b|AF_NETLINK|io\.systemd\.Resolve")  # netlink: before a look-up
KEPT = ("PATH", "PYTHONPATH", "POSTSENSE_CACHE", "OMP_NUM_THREADS", "TMPDIR")
QUICK = ("--set", "training.epochs=1", "--set", "training.batch_size=16")


def asked(trace: Path) -> list[str]:
    """The lines of a trace in which the network is asked, or made ready to be."""
    return [
        line for line in trace.read_text("utf-8", "replace").splitlines() if ASKING.search(line)
    ]


@pytest.fixture(scope="module")
def strace(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The words before a command that is to be traced, but for the name of the trace."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace, which says what the system is asked")
    trial = (*TRACE, str(tmp_path_factory.mktemp("trial") / "trace.txt"), "true")
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("needs a system that lets strace trace")
    return TRACE


@pytest.fixture(scope="module")
def home(strace: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A user's home after every verb was used; trace.txt beside it says what was asked."""
    folder = tmp_path_factory.mktemp("traced")
    demo, ids = folder / "demo", folder / "ids.txt"
    table, corpus = demo / "posts" / "posts.jsonl", demo / "corpus"
    more = write_synthetic_posts(folder / "more", posts=30, seed=5)
    rows = more.read_text(encoding="utf-8").splitlines()
    ids.write_text("\n".join(json.loads(row)["id"] for row in rows), encoding="utf-8")
    verbs: list[tuple[object, ...]] = [
        ("demo", "--posts", 30, "--out", demo),  # train, compare, evaluate, predict, corpus build
        ("check", table),
        ("corpus", "add", corpus, more),
        ("corpus", "index", corpus),
        ("corpus", "search", corpus, "a lovely day"),
        ("corpus", "remove", corpus, "--ids", ids),
        ("corpus", "compact", corpus),
        ("corpus", "stats", corpus),
        ("discover", table, "--out", folder / "groups", "--clusters", 3, *QUICK),
    ]
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    done = run_verbs(
        verbs,
        before=(*strace, str(folder / "trace.txt")),
        environment={**kept, "HOME": str(folder / "home")},
    )
    assert done.returncode == 0, done.stderr
    return folder / "home"


def test_python_opens_no_connection_when_a_run_is_trained_and_asked(
    postsense: Any, posts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **_: opened.append(words))
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: opened.append(address))
    run, labels = tmp_path / "run", tmp_path / "labels.csv"
    assert postsense("train", posts_file, "--out", run, *QUICK).code == 0
    assert postsense("predict", run, posts_file, "--out", labels).code == 0
    assert opened == []


@pytest.mark.slow
def test_no_verb_asks_the_network(home: Path) -> None:
    assert asked(home.parent / "trace.txt") == []


@pytest.mark.slow
def test_no_library_keeps_what_it_would_report(home: Path) -> None:
    assert [str(file.relative_to(home)) for file in home.rglob("*")] == []


def test_a_look_up_would_be_seen(strace: tuple[str, ...], tmp_path: Path) -> None:
    code = "import socket\ntry: socket.getaddrinfo('postsense.invalid', 80)\nexcept OSError: pass"
    words = (*strace, str(tmp_path / "trace.txt"), sys.executable, "-c", code)
    subprocess.run(words, check=True)
    assert asked(tmp_path / "trace.txt")

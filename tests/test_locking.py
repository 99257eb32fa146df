import os
import signal
import subprocess
import sys

import pytest

from postsense.errors import BusyError
from postsense.files.locking import LOCK_FILES, writing_to


def names_in(folder):
    return sorted(item.name for item in folder.iterdir())


HOLD = """
import sys, time
from pathlib import Path
from postsense.files.locking import writing_to
with writing_to(Path(sys.argv[1]), "corpus add"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds tmp_path/"corpus"."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "corpus")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_told_who_is_at_work(tmp_path, holder):
    with pytest.raises(BusyError) as caught, writing_to(tmp_path / "corpus", "corpus remove"):
        pass
    assert "'corpus add' at work in it since 20" in str(caught.value)
    assert f"(process {holder.pid} on " in str(caught.value)
    assert "Wait until it has ended, then give 'corpus remove' again." in str(caught.value)


def test_a_killed_process_holds_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with writing_to(tmp_path / "corpus", "corpus remove"):
        assert names_in(tmp_path / "corpus") == sorted(LOCK_FILES)


def test_a_child_that_outlives_its_killed_parent_holds_nothing(tmp_path):
    code = HOLD.replace("print(", "import os\n    if os.fork() == 0: print(")
    command = [sys.executable, "-c", code, str(tmp_path / "corpus")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    with writing_to(tmp_path / "corpus", "corpus add"):
        pass
    os.killpg(process.pid, signal.SIGKILL)  # the child
    process.stdout.close()


def test_what_was_made_for_a_command_that_failed_goes_again(tmp_path):
    with pytest.raises(RuntimeError), writing_to(tmp_path / "runs" / "first", "train"):
        raise RuntimeError
    assert names_in(tmp_path) == []


def test_what_a_command_wrote_stays_and_the_lock_goes(tmp_path):
    with writing_to(tmp_path / "runs" / "first", "train"):
        (tmp_path / "runs" / "first" / "run.json").write_text("{}")
    assert names_in(tmp_path / "runs" / "first") == ["run.json"]


def test_many_processes_take_turns_and_never_two_at_once(tmp_path):
    code = """
import sys, time
from pathlib import Path
from postsense.errors import BusyError
from postsense.files.locking import writing_to
folder, done = Path(sys.argv[1]), 0
while done < 20:
    try:
        with writing_to(folder, "x"):
            inside = folder / "inside"
            inside.mkdir()  # FileExistsError: somebody else is here
            inside.rmdir()
            done += 1
    except BusyError:
        time.sleep(0.001)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "folder")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=600)[1] for process in processes]
    assert said == [""] * 4

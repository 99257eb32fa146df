"""From settings and posts to what is trained, told once for all that train.

settings → the folder, claimed or temporary → prepared posts → each seed trained once → written

`train_run` claims a folder and trains seed by seed, `PostClassifier.fit` keeps no folder, and
`discover` trains on posts without labels and names what it found.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from postsense.config import Config
from postsense.data.writing import write_bad_rows
from postsense.files.atomic import replacing, write_json
from postsense.files.locking import writing_to
from postsense.inputs.preparation import PreparedPosts
from postsense.parallel.device import pick_device
from postsense.parallel.processes import is_main, main_first, together, wait_for_all
from postsense.prediction.classifier import AnyClassifier
from postsense.runs.folder import free_unbegun, mark_run, refuse_taken, sweep
from postsense.saving.folder import save_model


@dataclass(frozen=True)
class Claim:
    """A run folder to train into, and what marks it as this run's.

    command: what holds the folder meanwhile, such as "train". fingerprint: of all that is read of
    the posts. describe: what run.json says, given the prepared posts.
    """

    folder: Path
    command: str
    config: Config
    fingerprint: str
    describe: Callable[[PreparedPosts], dict[str, Any]]

    @property
    def settings(self) -> dict[str, Any]:
        """What config.json says."""
        return self.config.model_dump(mode="json")


@dataclass(frozen=True)
class Started:
    """A folder to train into, and the posts as the model reads them."""

    folder: Path
    prepared: PreparedPosts


@dataclass(frozen=True)
class TrainedSeed:
    """What one seed gave. report: JSON-ready. tables: by name of the file, None for none."""

    classifier: AnyClassifier
    report: dict[str, Any]
    tables: Mapping[str, pa.Table | None] = field(default_factory=dict)


@contextmanager
def started(
    config: Config, prepare: Callable[[], PreparedPosts], claim: Claim | None = None
) -> Iterator[Started]:
    """While something is trained: the folder, held for the one command, and the prepared posts.

    The folder is claimed once the posts are prepared, since they may have to be refused, and is
    free again if training fails before an epoch is kept. Of several processes the main one alone
    writes; the others find what it has prepared.

    prepare: encodes the posts. claim: None: a temporary folder, gone at the end.
    Raises: RunError: the folder holds another run, or files of something else. BusyError: another
        command writes to it. Whatever prepare raises.
    """
    with (
        _folder(claim) as folder,
        together(cpu=pick_device(config.training).type == "cpu"),
        _held(claim),
    ):
        with main_first():
            if claim is not None:  # before hours of encoding
                refuse_taken(folder, claim.settings, claim.fingerprint)
            prepared = prepare()
            if claim is not None and is_main():
                _mark(claim, prepared)
        try:
            yield Started(folder, prepared)
        except Exception:
            if claim is not None and is_main():
                free_unbegun(folder)
            raise
        wait_for_all()  # until all is written


def train_once(
    folder: Path,
    train: Callable[[Path], TrainedSeed],
    read: Callable[[Path], dict[str, Any]],
    *,
    finished_by: tuple[str, ...] = ("metrics.json",),
) -> dict[str, Any]:
    """The report of a seed, which is trained and written unless it is finished.

    Args:
        folder: of the seed. train: trains it, given the folder of its checkpoints, which is there
            only while the seed is unfinished. read: reads the report of a finished seed.
        finished_by: the files without which a seed is not finished; metrics.json is written last.
    """
    if is_main():
        sweep(folder)
    is_finished = all((folder / name).is_file() for name in finished_by)
    report = read(folder / "metrics.json") if is_finished else None
    wait_for_all()  # the main process writes nothing before all have looked
    if report is None:
        trained = train(folder / "checkpoints")
        report = trained.report
        if is_main():
            _write(folder, trained)
    if is_main():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return report


@contextmanager
def _folder(claim: Claim | None) -> Iterator[Path]:
    if claim is not None:
        yield claim.folder
        return
    with tempfile.TemporaryDirectory(
        prefix="postsense-",
        ignore_cleanup_errors=True,  # Windows keeps weights that are still mapped
    ) as folder:
        yield Path(folder)


def _held(claim: Claim | None) -> AbstractContextManager[None]:
    if claim is None or not is_main():
        return nullcontext()
    return writing_to(claim.folder, claim.command)


def _mark(claim: Claim, prepared: PreparedPosts) -> None:
    """Write what the run is and which posts are bad, into a folder without leftovers."""
    mark_run(claim.folder, claim.settings, claim.describe(prepared))
    sweep(claim.folder)
    write_bad_rows(prepared.bad, claim.folder / "bad_rows.jsonl")


def _write(folder: Path, trained: TrainedSeed) -> None:
    """Write what a seed is, its metrics last: they mark it as finished."""
    save_model(trained.classifier, folder / "model", in_run=True)
    for name, table in trained.tables.items():
        if table is not None:
            with replacing(folder / f"{name}.parquet") as temporary:
                pq.write_table(table, temporary)
    write_json(folder / "metrics.json", trained.report)

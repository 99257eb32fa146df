"""What each part of comment-aware self-training brings: one run for each variant, compared.

Source: Xu & Li 2022, Comment-Aware Self-Training, table 7 (parts), figure 3 (neighbors) and figure
4 (retrieval by picture, by words, by both).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postsense.config import Config
from postsense.config.loading import parse_said
from postsense.errors import ConfigError
from postsense.files.atomic import write_json
from postsense.files.locking import writing_to
from postsense.posts import Posts
from postsense.progress import Progress, silent
from postsense.runs.comparison import compare_run_folders
from postsense.runs.training import train_run

NEIGHBORS = (1, 3, 5, 7, 9)


@dataclass(frozen=True)
class Variant:
    """One run of an ablation. settings: what it changes of the full method, by section."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


_NO_CORPUS = {"method": "supervised", "retrieval": {"corpus": None}}
_FULL = Variant("full")
GROUPS: Mapping[str, tuple[Variant, ...]] = {
    "parts": (
        Variant("base", _NO_CORPUS),
        Variant("comments", {"method": "supervised"}),
        Variant("self-training", {"comments": {"count": 0}}),
        Variant("no-dropout", {"self_training": {"comment_dropout": 0.0}}),
        _FULL,
    ),
    "neighbors": tuple(
        Variant(f"neighbors-{count}", {"self_training": {"neighbors": count}})
        for count in NEIGHBORS
    ),
    "retrieval": (
        Variant("by-image", {"retrieval": {"alpha": 1.0}}),
        Variant("by-text", {"retrieval": {"alpha": 0.0}}),
        _FULL,
    ),
    "generic": (Variant("generic-kept", {"comments": {"max_generic": 1.0}}), _FULL),
    "pseudo-labels": (
        Variant("weighted-alike", {"self_training": {"weighting": "none"}}),
        Variant("adaptive", {"self_training": {"weighting": "adaptive"}}),
        _FULL,
    ),
}


def ablate(
    posts: Posts,
    config: Config,
    folder: Path,
    *,
    seeds: int = 1,
    groups: Iterable[str] = ("parts", "neighbors", "retrieval"),
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train every variant of these groups and compare each with the first of its group.

    Runs go to folder/<variant> and are resumed like any other; the tables, measured on test or, if
    there is none, on val, to ablation.json.
    Returns: by group, what `compare_run_folders` says of its runs.
    Raises: ConfigError: no corpus is named, or the group is none of GROUPS. BusyError: another
        command writes to the folder.
    """
    chosen = list(groups)
    unknown = sorted(set(chosen) - set(GROUPS))
    if unknown:
        fix = f"Choose from {list(GROUPS)}."
        raise ConfigError("--groups", "groups of variants", f"{unknown}", fix)
    if config.retrieval.corpus is None:
        fix = "Name one with --corpus."
        raise ConfigError("retrieval.corpus", "a corpus to ablate", "none", fix)
    full = config.model_copy(update={"method": "self_training"})
    measured_on = "test" if len(posts.labeled().split("test")) else "val"
    tables = {}
    with writing_to(folder, "ablate"):
        for group in chosen:
            for variant in GROUPS[group]:
                run = folder / variant.name
                train_run(posts, configured(full, variant), run, seeds=seeds, progress=progress)
            runs = [folder / variant.name for variant in GROUPS[group]]
            tables[group] = compare_run_folders(runs, measured_on)
        write_json(folder / "ablation.json", tables)
    return tables


def configured(full: Config, variant: Variant) -> Config:
    """The settings of a variant, from those of the full method but for what it does not read."""
    settings = full.model_dump()
    for section, changes in variant.settings.items():
        if isinstance(changes, Mapping):
            settings[section] |= changes
        else:
            settings[section] = changes
    return parse_said(settings, ())

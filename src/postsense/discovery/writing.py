"""Groups → their files in a run folder: groups.parquet, groups.json and the page."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from postsense.discovery.groups import Group, GroupedPosts
from postsense.discovery.naming import LabelVote
from postsense.discovery.page import ShownGroup, render_page, shown_post
from postsense.errors import RunError
from postsense.files.atomic import replacing, write_json
from postsense.posts import Posts
from postsense.prediction.classifier import Predictions
from postsense.runs.folder import read_json

GROUPS = "groups.json"


def write_groups(
    folder: Path,
    posts: Posts,
    grouped: GroupedPosts,
    groups: list[Group],
    predictions: Predictions,
    vote: LabelVote | None,
) -> None:
    """Write all files of the groups, each whole or not at all.

    posts: the usable ones, which grouped is of. predictions: of all posts, bad ones among them.
    vote: of the labels of a few posts, if there are any.
    """
    with replacing(folder / "groups.parquet") as temporary:
        pq.write_table(_table(groups, predictions), temporary)
    report = {
        "posts": len(posts),
        "bad_rows": len(predictions.bad),
        "labels": None if vote is None else {"labeled": vote.labeled, "agreed": vote.agreed},
        "groups": [_described(group, grouped) for group in groups],
    }
    write_json(folder / GROUPS, report)
    notes = _notes(len(posts), len(groups), len(predictions.bad), vote)
    shown = [_shown(group, posts, grouped, predictions) for group in groups]
    page = render_page(f"Groups of {Path(posts.name).name}", shown, notes)
    with replacing(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def read_names(folder: Path, groups: int) -> dict[int, str]:
    """The names that groups of a run have, by number; none before they are first written.

    Raises: RunError: groups.json is damaged, or numbers others than 1 to groups.
    """
    file = folder / GROUPS
    if not file.is_file():
        return {}
    fix = "Remove it: the groups get their first names again."
    try:
        report = read_json(file, groups=list[dict[str, Any]])
        names = {number: group["name"] for group in report["groups"] for number in group["numbers"]}
    except (RunError, KeyError, TypeError) as error:
        found = error.found if isinstance(error, RunError) else f"none ({error})"
        raise RunError(file, "groups with numbers and a name", found, fix) from None
    if not set(names) <= set(range(1, groups + 1)):
        raise RunError(file, f"groups 1 to {groups}", f"{sorted(map(str, names))}", fix)
    if not all(isinstance(name, str) and name for name in names.values()):
        raise RunError(file, "names of groups", "others", fix)
    return names


def _table(groups: list[Group], predictions: Predictions) -> pa.Table:
    """One row a post: id, group, name, probability; nulls for posts that could not be read."""
    number = {group.name: group.numbers[0] for group in groups}
    labels = predictions.names
    likeliest = np.nan_to_num(predictions.probs).max(axis=1)
    return pa.table(
        {
            "id": pa.array(predictions.ids, pa.string()),
            "group": pa.array([number.get(label or "") for label in labels], pa.int64()),
            "name": pa.array(labels, pa.string()),
            "probability": pa.array(
                likeliest, pa.float32(), mask=np.array([label is None for label in labels])
            ),
        }
    )


def _described(group: Group, grouped: GroupedPosts) -> dict[str, Any]:
    labeled = max(sum(group.labels.values()), 1)
    return {
        "number": group.numbers[0],
        "numbers": list(group.numbers),
        "name": group.name,
        "size": group.size,
        "share": round(group.share, 6),
        "words": list(group.words),
        "pictures_show": list(group.shows),
        "typical": [grouped.ids[row] for row in group.typical],
        "labels": {
            label: {"posts": count, "share": round(count / labeled, 6)}
            for label, count in group.labels.items()
        },
    }


def _shown(
    group: Group, posts: Posts, grouped: GroupedPosts, predictions: Predictions
) -> ShownGroup:
    column = predictions.classes.index(group.name)
    shown = [shown_post(posts[row], float(grouped.probs[row, column])) for row in group.typical]
    return ShownGroup(group, shown)


def _notes(posts: int, groups: int, bad: int, vote: LabelVote | None) -> list[str]:
    unread = f"; {bad} could not be read" if bad else ""
    notes = [f"{posts} posts in {groups} groups{unread}."]
    if vote is not None and vote.labeled:
        notes.append(f"{vote.agreed} of {vote.labeled} labelled posts have their group's label.")
    notes.append("Each group is shown by its most typical posts and how sure they belong to it.")
    return notes

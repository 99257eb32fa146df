"""`postsense discover`: posts without labels → groups with names, a page and a classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from postsense.escaping import shown

READ = ("text", "image", "regions")  # of our columns

if TYPE_CHECKING:
    from postsense.config import Config
    from postsense.discovery.discover import Discovery
    from postsense.posts import Posts


def discover(
    table: Annotated[Path, typer.Argument(help="Posts: .parquet, .jsonl, .csv or an imagefolder.")],
    out: Annotated[Path, typer.Option(help="Run folder; the same command names its groups anew.")],
    clusters: Annotated[int, typer.Option(help="Groups to find, 2 or more.")],
    algorithm: Annotated[str | None, typer.Option(help="kmeans or gmm.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Name of a group, such as 1=food. Repeatable.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Column with labels of a few posts; groups without a name take one."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures that are not below the table's.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, such as clustering.restarts=20. Repeatable."),
    ] = None,
) -> None:
    """Find groups among the posts of TABLE, which needs no labels, and show them on a page.

    The run folder then predicts the groups of new posts. The same command with --name or --labels
    names the groups and trains nothing; groups of one name become one. --labels gives each group
    that is still called "group N" its commonest label.
    """
    from postsense.commands.terminal import print_bad_rows, progress_bar, say
    from postsense.config.loading import load_config
    from postsense.discovery.discover import SETTINGS
    from postsense.discovery.discover import discover as discover_groups

    given = {
        "data.image_root": images,
        "method": "cluster_pseudo_labels",
        "clustering.clusters": clusters,
        "clustering.algorithm": algorithm,
    }
    values = {key: value for key, value in given.items() if value is not None}
    config = load_config(None, None, (*SETTINGS, *(settings or ())), values)
    posts = _load(table, config, labels)
    few = None if labels is None else posts.column("label")
    with progress_bar() as progress:
        found = discover_groups(posts, config, out, names=name or (), labels=few, progress=progress)
    print_bad_rows(found.bad, found.posts, out / "bad_rows.jsonl")
    for line in _lines(found):
        say(line)


def _load(table: Path, config: "Config", labels: str | None) -> "Posts":
    """The posts, with the column of labels if one is named."""
    from postsense.config import UNREAD_IN_PREDICT
    from postsense.data.loading import load_posts
    from postsense.data.reading import reading_of

    columns, reading = config.data.columns, reading_of(config)
    if labels is None:
        return load_posts(table, columns, optional=UNREAD_IN_PREDICT, reads=READ, reading=reading)
    columns = columns.model_copy(update={"label": labels})
    optional = set(UNREAD_IN_PREDICT) - {"label"}
    reads = (*READ, "label")
    return load_posts(
        table, columns, require=("label",), optional=optional, reads=reads, reading=reading
    )


def _lines(found: "Discovery") -> list[str]:
    """A table of the groups, what the labels say of them, and where the page is."""
    rows = [("group", "posts", "name", "words")]
    for group in found.groups:
        numbers = "+".join(map(str, group.numbers))
        words = ", ".join(group.words) or "-"
        rows.append((numbers, str(group.size), shown(group.name), words))
    lines = _aligned(rows)
    if found.vote is not None:
        vote = found.vote
        lines.append(f"{vote.agreed} of {vote.labeled} labelled posts have their group's label")
    return [*lines, f"page in {found.folder / 'index.html'}"]


def _aligned(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """Lines with columns of one width, the last as it is."""
    number, size, name = (max(len(row[column]) for row in rows) for column in range(3))
    return [f"{row[0]:<{number}}  {row[1]:>{size}}  {row[2]:<{name}}  {row[3]}" for row in rows]

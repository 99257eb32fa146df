"""`postsense corpus`: one verb a function."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

corpus_app = typer.Typer(
    help="Build, change and search a corpus of posts with readers' comments.",
    no_args_is_help=True,
)

SHOWN_IDS = 10
CorpusArgument = Annotated[Path, typer.Argument(help="Folder of the corpus.")]
InputsArgument = Annotated[
    list[Path], typer.Argument(help="Tables of posts: .parquet, .jsonl, .csv ..., or imagefolders.")
]
CommentsOption = Annotated[
    list[Path] | None,
    typer.Option("--comments", help="Table of comments, joined by post id. Repeatable."),
]
ImagesOption = Annotated[
    Path | None, typer.Option(help="Folder of pictures that are not below the tables'.")
]
RayOption = Annotated[
    str | None, typer.Option("--ray", help="Address of a Ray cluster that cleans the posts.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@corpus_app.command()
def build(
    inputs: InputsArgument,
    out: Annotated[Path, typer.Option(help="Folder of the corpus; the same command resumes.")],
    comments: CommentsOption = None,
    language: Annotated[
        str | None, typer.Option(help="ISO 639-1 code of the posts kept; any: all.")
    ] = None,
    keep_without_picture: Annotated[
        bool, typer.Option(help="Keep posts that have no picture.")
    ] = False,
    keep_without_comments: Annotated[
        bool, typer.Option(help="Keep posts that have no comments.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file of corpus settings.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any corpus setting, such as columns.text=tweet. Repeatable."),
    ] = None,
    images: ImagesOption = None,
    ray: RayOption = None,
) -> None:
    """Clean and embed the posts of INPUTS with their comments, and index them."""
    from postsense.commands.terminal import print_build, print_index, progress_bar
    from postsense.config.loading import load_corpus_settings
    from postsense.corpus.building import build_corpus
    from postsense.retrieval.indexing import index_once

    values: dict[str, Any] = {"language": language} if language is not None else {}
    values |= {"require_image": False} if keep_without_picture else {}
    values |= {"require_comments": False} if keep_without_comments else {}
    values |= {"image_root": images} if images is not None else {}
    resolved = load_corpus_settings(config, settings or (), values)
    with progress_bar() as progress:
        report = build_corpus(
            inputs, out, resolved, comments=comments or (), ray=ray, progress=progress
        )
        index = index_once(out, progress)
    print_build(report, out)
    if index is not None:
        print_index(index)


@corpus_app.command()
def add(
    corpus: CorpusArgument,
    inputs: InputsArgument,
    comments: CommentsOption = None,
    images: ImagesOption = None,
    ray: RayOption = None,
) -> None:
    """Add the posts of INPUTS without a rebuild; those that are there are left alone."""
    from postsense.commands.terminal import print_build, progress_bar
    from postsense.corpus.adding import add_posts

    with progress_bar() as progress:
        report = add_posts(
            inputs, corpus, comments=comments or (), images=images, ray=ray, progress=progress
        )
    print_build(report, corpus)


@corpus_app.command()
def remove(
    corpus: CorpusArgument,
    ids: Annotated[
        Path, typer.Option(help="Ids to remove: one a line, or a table with a column id.")
    ],
    unknown: Annotated[
        Path | None, typer.Option(help="File for the ids that were not found, one a line.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take posts out of every answer at once; `compact` then takes them off the disk.

    Ids that are not in the corpus are listed; the exit code is 1 if none of them is.
    """
    from dataclasses import asdict

    from postsense.commands.terminal import say, say_json
    from postsense.corpus.removal import remove_posts
    from postsense.data.id_lists import read_ids
    from postsense.files.atomic import replacing

    removal = remove_posts(corpus, read_ids(ids))
    if unknown is not None:
        with replacing(unknown) as temporary:
            lines = [f"{post_id}\n" for post_id in removal.unknown]
            temporary.write_text("".join(lines), encoding="utf-8")
    if as_json:
        say_json(asdict(removal))
    else:
        say(f"{removal.removed} posts removed")
        for line in _unknown_lines(removal.unknown, unknown):
            say(line)
    if not removal.removed:
        raise typer.Exit(1)


@corpus_app.command()
def compact(corpus: CorpusArgument) -> None:
    """Delete removed posts from the disk and fold added ones into the index."""
    from postsense.commands.terminal import print_index, progress_bar
    from postsense.corpus.removal import compact as compact_posts
    from postsense.retrieval.indexing import index_corpus

    compact_posts(corpus)
    with progress_bar() as progress:
        print_index(index_corpus(corpus, progress))


@corpus_app.command()
def index(corpus: CorpusArgument) -> None:
    """Build the index anew and measure its recall."""
    from postsense.commands.terminal import print_index, progress_bar
    from postsense.retrieval.indexing import index_corpus

    with progress_bar() as progress:
        report = index_corpus(corpus, progress)
    print_index(report)


@corpus_app.command()
def stats(corpus: CorpusArgument, as_json: JsonOption = False) -> None:
    """Posts, lengths of texts and comments, comments a post; overall and by year."""
    from dataclasses import asdict

    from postsense.commands.terminal import print_statistics, say_json
    from postsense.corpus.reading import open_corpus
    from postsense.corpus.statistics import corpus_statistics

    statistics = corpus_statistics(open_corpus(corpus))
    if as_json:
        say_json(asdict(statistics))
    else:
        print_statistics(statistics, str(corpus))


@corpus_app.command()
def verify(corpus: CorpusArgument) -> None:
    """Read all of the corpus and say whether it is as it was written."""
    from postsense.commands.terminal import say
    from postsense.corpus.reading import open_corpus
    from postsense.retrieval.indexing import index_of

    opened = open_corpus(corpus)
    opened.verify()
    index_of(opened)
    if opened.has_sums:
        say(f"{len(opened)} posts are as they were written")
    else:
        say(f"{len(opened)} posts without checksums: built before there were any")


@corpus_app.command()
def search(
    corpus: CorpusArgument,
    text: Annotated[str | None, typer.Argument(help="Words to look for.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to look for.")] = None,
    top_k: Annotated[int, typer.Option("-k", min=1, help="Posts to show.")] = 5,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="Weight of the picture against the words.")
    ] = 0.5,
    as_json: JsonOption = False,
) -> None:
    """Show the posts most similar to TEXT, to a picture, or to both, with their comments."""
    from postsense.commands.terminal import print_answers, progress_bar, say_json
    from postsense.errors import CorpusError
    from postsense.retrieval.answers import search_corpus

    if text is None and image is None:
        fix = "Give a TEXT, an --image, or both."
        raise CorpusError("corpus search", "something to look for", "nothing", fix)
    with progress_bar() as progress:
        answers = search_corpus(corpus, text, image, top_k, alpha, progress)
    if as_json:
        say_json([vars(answer) for answer in answers])
    else:
        print_answers(answers)


def _unknown_lines(ids: Sequence[str], file: Path | None) -> list[str]:
    """What to say of ids that are not in the corpus: how many, the first, where the others are."""
    if not ids:
        return []
    where = "--unknown FILE or --json lists all" if file is None else f"all are in {file}"
    more = f" and {len(ids) - SHOWN_IDS} more; {where}" if len(ids) > SHOWN_IDS else ""
    shown = ", ".join(f"'{post_id}'" for post_id in ids[:SHOWN_IDS])
    return [f"{len(ids)} ids are not in the corpus: {shown}{more}"]

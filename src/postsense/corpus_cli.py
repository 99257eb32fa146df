"""`postsense corpus`: one verb a function."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

corpus_app = typer.Typer(
    help="Build, change and search a corpus of posts with readers' comments.",
    no_args_is_help=True,
)

CorpusArgument = Annotated[Path, typer.Argument(help="Folder of the corpus.")]
InputsArgument = Annotated[
    list[Path], typer.Argument(help="Tables of posts: .parquet, .jsonl, .csv or imagefolders.")
]
CommentsOption = Annotated[
    list[Path] | None,
    typer.Option("--comments", help="Table of comments, joined by post id. Repeatable."),
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
    ray: RayOption = None,
) -> None:
    """Clean and embed the posts of INPUTS with their comments, and index them."""
    from postsense.config_loading import load_corpus_settings
    from postsense.corpus.building import build_corpus
    from postsense.retrieval.indexing import index_once
    from postsense.terminal import print_build, print_index, progress_bar

    values: dict[str, Any] = {"language": language} if language is not None else {}
    values |= {"require_image": False} if keep_without_picture else {}
    values |= {"require_comments": False} if keep_without_comments else {}
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
    ray: RayOption = None,
) -> None:
    """Add the posts of INPUTS without a rebuild; those that are there are left alone."""
    from postsense.corpus.adding import add_posts
    from postsense.terminal import print_build, progress_bar

    with progress_bar() as progress:
        report = add_posts(inputs, corpus, comments=comments or (), ray=ray, progress=progress)
    print_build(report, corpus)


@corpus_app.command()
def remove(
    corpus: CorpusArgument,
    ids: Annotated[Path, typer.Option(help="File with the ids to remove, one a line.")],
) -> None:
    """Take posts out of every answer at once; `compact` then takes them off the disk."""
    from postsense.corpus.removal import remove_posts

    removal = remove_posts(corpus, _read_ids(ids))
    typer.echo(f"{removal.removed} posts removed")
    if removal.unknown:
        typer.echo(f"{len(removal.unknown)} ids unknown, the first '{removal.unknown[0]}'")


@corpus_app.command()
def compact(corpus: CorpusArgument) -> None:
    """Delete removed posts from the disk and fold added ones into the index."""
    from postsense.corpus.removal import compact as compact_posts
    from postsense.retrieval.indexing import index_corpus
    from postsense.terminal import print_index, progress_bar

    compact_posts(corpus)
    with progress_bar() as progress:
        print_index(index_corpus(corpus, progress))


@corpus_app.command()
def index(corpus: CorpusArgument) -> None:
    """Build the index anew and measure its recall."""
    from postsense.retrieval.indexing import index_corpus
    from postsense.terminal import print_index, progress_bar

    with progress_bar() as progress:
        report = index_corpus(corpus, progress)
    print_index(report)


@corpus_app.command()
def stats(corpus: CorpusArgument, as_json: JsonOption = False) -> None:
    """Posts, lengths of texts and comments, comments a post; overall and by year."""
    from dataclasses import asdict

    from postsense.corpus.reading import open_corpus
    from postsense.corpus.statistics import corpus_statistics
    from postsense.terminal import print_statistics

    statistics = corpus_statistics(open_corpus(corpus))
    if as_json:
        typer.echo(json.dumps(asdict(statistics)))
    else:
        print_statistics(statistics, str(corpus))


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
    from postsense.errors import CorpusError
    from postsense.retrieval.answers import search_corpus
    from postsense.terminal import print_answers, progress_bar

    if text is None and image is None:
        fix = "Give a TEXT, an --image, or both."
        raise CorpusError("corpus search", "something to look for", "nothing", fix)
    with progress_bar() as progress:
        answers = search_corpus(corpus, text, image, top_k, alpha, progress)
    if as_json:
        typer.echo(json.dumps([vars(answer) for answer in answers], ensure_ascii=False))
    else:
        print_answers(answers)


def _read_ids(file: Path) -> list[str]:
    from postsense.errors import CorpusError

    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        fix = "Write one id a line."
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise CorpusError(file, "a text file of ids in UTF-8", found, fix) from None
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise CorpusError(file, "at least one id", "none", "Write one id a line.")
    return ids

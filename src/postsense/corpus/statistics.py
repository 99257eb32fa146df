"""A corpus → how many posts and comments it has, how long they are, and from which years.

Source: Zhang et al. 2022 (CAST), Table 1; lengths there are in tokens, here in words.
"""

import email.utils
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from postsense.corpus.reading import Corpus

UNDATED = "undated"
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_SECONDS = re.compile(r"\d{9,10}(?:\.\d+)?|\d{12,13}")


@dataclass(frozen=True)
class Statistics:
    """posts; words of a text and of a comment on average; comments a post. 0 without any."""

    posts: int
    text_words: float
    comment_words: float
    comments_per_post: float


@dataclass(frozen=True)
class CorpusStatistics:
    """The numbers of all posts and of those of each year, ascending; last those without a date."""

    overall: Statistics
    years: dict[str, Statistics]


@dataclass
class _Sums:
    posts: int = 0
    texts: int = 0
    text_words: int = 0
    comments: int = 0
    comment_words: int = 0

    def add(self, text: str | None, comments: list[str]) -> None:
        self.posts += 1
        self.texts += text is not None
        self.text_words += len(text.split()) if text is not None else 0
        self.comments += len(comments)
        self.comment_words += sum(len(comment.split()) for comment in comments)

    def statistics(self) -> Statistics:
        return Statistics(
            posts=self.posts,
            text_words=self.text_words / max(self.texts, 1),
            comment_words=self.comment_words / max(self.comments, 1),
            comments_per_post=self.comments / max(self.posts, 1),
        )


def corpus_statistics(corpus: Corpus) -> CorpusStatistics:
    """Count the posts that are not removed, their words and their comments."""
    overall, years = _Sums(), defaultdict[str, _Sums](_Sums)
    columns = ("text", "comments", "created_at")
    for batch in corpus.batches(columns):
        for text, comments, created_at in zip(
            *(batch[name].to_pylist() for name in columns), strict=True
        ):
            overall.add(text, comments)
            years[year_of(created_at)].add(text, comments)
    ordered = {year: years[year].statistics() for year in sorted(years)}  # "undated" after digits
    return CorpusStatistics(overall.statistics(), ordered)


def year_of(created_at: str | None) -> str:
    """The year of an ISO, Unix, e-mail or Twitter time in UTC or as written; else "undated"."""
    text = (created_at or "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text) / (1 if len(text.partition(".")[0]) <= 10 else 1000)
        return str(datetime.fromtimestamp(seconds, UTC).year)
    found = _YEAR.findall(text)
    if len(found) == 1:
        return str(found[0])
    try:
        return str(email.utils.parsedate_to_datetime(text).year)
    except ValueError:
        return str(found[0]) if found and text.startswith(found[0]) else UNDATED

"""What tables call their splits → train, val and test."""

import re
from collections.abc import Mapping
from typing import Final

from postsense.data.blanks import without_invisible

SPLIT_ALIASES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "vld"), "val"),
    **dict.fromkeys(("dev", "devel", "development", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
KNOWN_NAMES: Final = (
    "train (training, trn), val (valid, validation, dev, development, eval) and test (testing, tst)"
)
_PARTS: Final = ("seen", "unseen", "matched", "mismatched", "full", "set", "split")
_SEPARATORS: Final = re.compile(r"[\s_.\-]+")
_SHARD: Final = re.compile(r"_\d+_of_\d+(_\w+)?$")  # train-00000-of-00001.parquet


def known_split(name: str) -> str | None:
    """The split of ours that a name means, None for one that is not known.

    Case, blanks, the number of a shard and what of the split it is (`seen` and `unseen`, `matched`
    and `mismatched`, `full`, `set`, `split`) do not count: both `dev_seen` and `dev_unseen` are
    val, `test_unseen` is test.
    """
    plain = _SEPARATORS.sub("_", without_invisible(name).strip().lower()).strip("_")
    words = _SHARD.sub("", plain).split("_")
    if len(words) == 1 and words[0].endswith("set"):  # trainset
        words = [words[0].removesuffix("set")]
    while len(words) > 1 and words[-1] in _PARTS:
        words.pop()
    return SPLIT_ALIASES.get("_".join(words))

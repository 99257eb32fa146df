"""What this machine adds to a table when it reads it: where pictures lie and are kept."""

from dataclasses import dataclass, replace
from pathlib import Path

from postsense.config import Config, CorpusSettings


@dataclass(frozen=True)
class Reading:
    """How tables are read.

    delimiter: what parts the cells of a text file; None: a guess. image_root: where pictures are
    looked for that are not below the table's folder; None: nowhere else. cache: pictures that are
    inside a table are kept below it; None: where features are by default.
    """

    delimiter: str | None = None
    image_root: Path | None = None
    cache: Path | None = None


def reading_of(config: Config) -> Reading:
    """How the settings say that tables are read."""
    data = config.data
    return Reading(data.delimiter, data.image_root, config.encoders.cache)


def with_images(reading: Reading, folder: Path | None) -> Reading:
    """The same, with pictures looked for in a folder that is named; None: as it is."""
    return reading if folder is None else replace(reading, image_root=folder)


def corpus_reading(settings: CorpusSettings) -> Reading:
    """How the settings of a corpus say that tables are read."""
    return Reading(settings.delimiter, settings.image_root, settings.encoders.cache)

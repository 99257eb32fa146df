"""Settings of whoever uses a trained model: of the posts and of this machine, never of the model.

Which these are, the fields of the settings say: see `config.section`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postsense.config import Config
from postsense.config.fields import settings_in
from postsense.config.loading import leaves, merged_settings, parse_said, without_settings
from postsense.errors import ConfigError, nearest

_NAMES = ("encoders.text.name", "encoders.image.name")


@dataclass(frozen=True)
class LocalSettings:
    """values: by dotted key. Those that a trained model does not allow are refused by `over`."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def over(self, config: Config) -> Config:
        """The settings of a trained model with these in their place.

        A corpus is for models that read comments; others do not look at it.
        Raises: ConfigError: an unknown key, a bad value, or one that made the model.
        """
        settings, allowed = config.model_dump(), after_training()
        for key, value in self.values.items():
            *sections, name = key.split(".")
            section: Any = settings
            for part in sections:
                section = section.get(part) if isinstance(section, dict) else None
            known = isinstance(section, dict) and not isinstance(section.get(name, {}), dict)
            if known and key not in allowed and section[name] == value:
                continue  # as a file of settings that the model was trained with says
            if not known or key not in allowed:
                raise _not_allowed(key, allowed, known=known)
            if key != "retrieval.corpus" or config.retrieval.corpus is not None:
                section[name] = value
        return parse_said(settings, self.values)

    @property
    def encoders(self) -> frozenset[str]:
        """The encoders that are named anew, of "text" and "image"."""
        return frozenset(key.split(".")[1] for key in _NAMES if key in self.values)


NO_LOCAL_SETTINGS = LocalSettings()


def load_local(
    file: Path | None = None,
    overrides: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
) -> LocalSettings:
    """Merge the settings of a TOML file, `key=value` overrides and ready values.

    Raises: ConfigError: a file or an override that cannot be read.
    """
    return LocalSettings(leaves(merged_settings(None, file, overrides, values)))


def named_corpus(folder: Path | None) -> dict[str, Any]:
    """The values for a corpus that an option names; none without one."""
    return {} if folder is None else {"retrieval.corpus": folder}


def after_training() -> list[str]:
    """The dotted keys that may be set where a trained model is used."""
    return [one.key for one in settings_in(Config) if one.marks.get("after_training")]


def without_machine(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings but for those of the machine that they come from."""
    left_out = {one.key for one in settings_in(Config) if one.marks.get("of_machine")}
    return without_settings(settings, left_out)


def _not_allowed(key: str, allowed: list[str], *, known: bool) -> ConfigError:
    """The error for a setting that made the model what it is, or for one that is none."""
    expected = f"a setting that may change once a model is trained, one of {allowed}"
    close = "" if known else f"{nearest(key, allowed, ())} "
    hint = close if close.startswith("Did you mean") else ""
    return ConfigError("settings", expected, f"'{key}'", f"{hint}Leave it out, or train again.")

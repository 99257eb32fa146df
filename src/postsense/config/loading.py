"""Presets, TOML files and overrides → settings.

Precedence: default < the method's preset < preset < file < `--set key=value`. The method's preset
is there for methods that come with a model of their own, whoever names the method. A preset or a
file may begin with `extends = "PRESET"`: that preset's settings come before its own.

What somebody sets and no part of the run reads is refused. Of presets, and of settings that were
written down, it is dropped: they were made for another combination.
"""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from postsense.config import Config, CorpusSettings, EncoderSettings
from postsense.config.fields import settings_in, unread_settings
from postsense.config.run import UNREAD_ALLOWED
from postsense.errors import ConfigError, nearest
from postsense.files.regular import UnreadableFileError, read_regular
from postsense.registry.methods import METHODS

FORMER_TEXT, FORMER_IMAGE = {"unknown": "keep"}, {"pixels": "quick"}
MAX_BYTES = 1024 * 1024  # of a file of settings
_LONGEST_VALUE = 200  # characters of a value that a message shows


def load_config(
    preset: str | None = None,
    file: Path | None = None,
    overrides: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
    *,
    default_method: str | None = None,
) -> Config:
    """Merge the settings of a preset, a TOML file, `key=value` overrides and ready values.

    default_method: what trains where no preset is named, no method, and nothing is set that this
        method does not read; None: "supervised".
    Raises: ConfigError: listing every unknown key and bad value at once.
    """
    presets, said = _presets_and_said(preset, file, overrides, values)
    if default_method is not None and preset is None and _suits(default_method, presets, said):
        presets = {**presets, "method": default_method}
    name = str(said.get("method", presets.get("method")))
    own = METHODS[name].preset if name in METHODS else None
    settings = {} if own is None else preset_settings(own)
    for later in (presets, said):
        merge(settings, later)
    return parse_said(settings, leaves(said))


def _suits(method: str, presets: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Whether a method reads all that is set, and no other is named."""
    if presets or "method" in said:
        return False
    try:
        parse_said({**said, "method": method}, leaves(said))
    except ConfigError:
        return False  # it may suit another method, or none, which is told then
    return True


def merged_settings(
    preset: str | None = None,
    file: Path | None = None,
    overrides: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is given, nested and not checked. Raises: ConfigError: it cannot be read."""
    settings, said = _presets_and_said(preset, file, overrides, values)
    merge(settings, said)
    return settings


def _presets_and_said(
    preset: str | None,
    file: Path | None,
    overrides: Iterable[str],
    values: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What presets set, and what is set on top of them, both nested and not checked."""
    presets = {} if preset is None else preset_settings(preset)
    said = {} if file is None else _read_toml(file)
    extended = said.pop("extends", None)
    if extended is not None:
        merge(presets, _read_extended(extended, f"{file}"))
    for override in overrides:
        merge(said, _parse_override(override))
    for key, value in (values or {}).items():
        merge(said, _nested(key, value))
    return presets, said


def leaves(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by their dotted keys."""
    found = dict[str, Any]()
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": inner for key, inner in leaves(value).items()}
        else:
            found[name] = value
    return found


def load_corpus_settings(
    file: Path | None = None,
    overrides: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
) -> CorpusSettings:
    """Merge the settings of a corpus from a TOML file, `key=value` overrides and ready values.

    Raises: ConfigError: listing every unknown key and bad value at once.
    """
    settings: dict[str, Any] = {} if file is None else _read_toml(file)
    for override in overrides:
        merge(settings, _parse_override(override))
    merge(settings, values or {})
    try:
        return CorpusSettings.model_validate(settings)
    except ValidationError as error:
        raise _config_error(error, CorpusSettings) from None


def refuse_unknown_settings(names: Iterable[str]) -> None:
    """Refuse dotted names that are no setting and no group of them. Raises: ConfigError."""
    known = _keys(Config)
    for name in names:
        if not any(
            key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for key in known
        ):
            raise ConfigError("config", "known settings", f"'{name}'", _nearest_key(name, known))


def parse_config(settings: Mapping[str, Any]) -> Config:
    """Check a nested mapping of settings. Raises: ConfigError: listing every problem at once."""
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise _config_error(error, Config) from None


def parse_said(settings: Mapping[str, Any], said: Collection[str]) -> Config:
    """Check a nested mapping of settings, of which the user has set some, by their dotted keys.

    Others that are not read go back to their defaults.
    Raises: ConfigError: listing every problem at once, of what is not read among said too.
    """
    kept, before = dict(settings), None
    while kept != before:  # what is dropped may leave others unread
        before = kept
        try:
            config = Config.model_validate(kept, context=UNREAD_ALLOWED)
        except ValidationError as error:
            raise _config_error(error, Config) from None
        unsaid = {key for key in unread_settings(config) if not _is_said(key, said)}
        kept = without_settings(kept, unsaid)
    return parse_config(kept)


def _is_said(key: str, said: Collection[str]) -> bool:
    """Whether the user has set this key, or a part of it."""
    return key in said or any(one.startswith(f"{key}.") for one in said)


def parse_kept(settings: Mapping[str, Any]) -> Config:
    """Check settings that were written down, be it by an earlier version. Raises: ConfigError."""
    return parse_said(with_former(settings), ())


def without_settings(
    settings: Mapping[str, Any], left_out: Collection[str], prefix: str = ""
) -> dict[str, Any]:
    """Nested settings but for those of these dotted keys."""
    return {
        name: without_settings(value, left_out, f"{prefix}{name}.")
        if isinstance(value, Mapping)
        else value
        for name, value in settings.items()
        if f"{prefix}{name}" not in left_out
    }


def with_former(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with what an earlier version did where it did not have a setting yet."""
    encoders = settings.get("encoders")
    if not isinstance(encoders, Mapping):
        return dict(settings)
    return {**settings, "encoders": _with_former_encoders(encoders)}


def _with_former_encoders(encoders: Mapping[str, Any]) -> dict[str, Any]:
    """Before there was a choice of pixels, those of local checkpoints were the quick ones."""
    filled, text, image = dict(encoders), encoders.get("text"), encoders.get("image")
    if isinstance(text, Mapping):
        filled["text"] = {**FORMER_TEXT, **text}
    if isinstance(image, Mapping) and image.get("name", "builtin") not in ("builtin", "regions"):
        filled["image"] = {**FORMER_IMAGE, **image}
    return filled


def kept_as_before(record: object) -> bool:
    """Whether settings that were written down are of a version that read no symbols by name."""
    text: Any = record
    for part in ("encoders", "text"):
        text = text.get(part) if isinstance(text, Mapping) else None
    return isinstance(text, Mapping) and not FORMER_TEXT.keys() <= text.keys()


def as_before(encoders: EncoderSettings) -> EncoderSettings:
    """The settings of encoders with what an earlier version did with symbols and pixels."""
    given = encoders.model_dump(exclude={"text": set(FORMER_TEXT), "image": set(FORMER_IMAGE)})
    return EncoderSettings.model_validate(_with_former_encoders(given))


def preset_names() -> list[str]:
    """The presets that ship with postsense."""
    folder = resources.files("postsense.presets")
    names = [item.name for item in folder.iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def preset_titles() -> dict[str, str]:
    """What each preset is, in a line, by its name: the comment that its file begins with."""
    return {name: _preset_text(name).partition("\n")[0].lstrip("# ") for name in preset_names()}


def _preset_text(name: str) -> str:
    return resources.files("postsense.presets").joinpath(f"{name}.toml").read_text("utf-8")


def preset_settings(name: str) -> dict[str, Any]:
    """What a preset sets, nested and not checked. Raises: ConfigError: there is none."""
    names = preset_names()
    if name not in names:
        raise ConfigError("--preset", "a preset's name", f"'{name}'", nearest(name, names))
    settings = tomllib.loads(_preset_text(name))
    extended = settings.pop("extends", None)
    merged = {} if extended is None else _read_extended(extended, name)
    merge(merged, settings)
    return merged


def _read_extended(name: object, where: str) -> dict[str, Any]:
    """The settings of the preset that is extended there."""
    if name not in preset_names():
        known = nearest(str(name), preset_names())
        raise ConfigError(f"{where}, extends", "a preset's name", f"'{name}'", known)
    return preset_settings(str(name))


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular(file, MAX_BYTES).decode("utf-8-sig"))
    except UnreadableFileError as error:
        raise ConfigError(file, "a TOML file", error.found, "Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(file, "a TOML file in UTF-8", str(error), "Mend that line.") from None


def _parse_override(override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(
            "--set", "key=value", f"'{override}'", "Write for example training.epochs=5."
        )
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    return _nested(key.strip(), value)


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def merge(settings: dict[str, Any], later: Mapping[str, Any]) -> None:
    """Put later nested settings over earlier ones."""
    for key, value in later.items():
        if isinstance(value, Mapping) and isinstance(settings.get(key), dict):
            merge(settings[key], value)
        else:
            settings[key] = dict(value) if isinstance(value, Mapping) else value


def _nearest_key(key: str, known: Iterable[str]) -> str:
    """A key like this one; without one, those of its section, or those at the top."""
    section, top = key.rpartition(".")[0], {name.partition(".")[0] for name in known}
    if not section:  # perhaps the name of a section, which is none of the keys
        return nearest(key, top)
    return nearest(key, known, [name for name in known if name.startswith(f"{section}.")] or top)


def _config_error(error: ValidationError, section: type[BaseModel]) -> ConfigError:
    known = _keys(section)
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "value_error":  # settings that do not fit together
            problems.append(str(problem["ctx"]["error"]))
        elif problem["type"] == "extra_forbidden":
            problems.append(f"unknown '{key}' ({_nearest_key(key, known).rstrip('.')})")
        else:
            message = problem["msg"][0].lower() + problem["msg"][1:]
            problems.append(f"{key} = {_shortened(problem['input'])} ({message})")
    return ConfigError(
        "config", "known settings in their range", "; ".join(sorted(problems)), "Mend these."
    )


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _keys(section: type[BaseModel]) -> list[str]:
    return [setting.key for setting in settings_in(section)]

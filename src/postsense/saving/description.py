"""model.json: what a model is, checked as what it is, a text from anyone."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic import field_validator as validates

from postsense.data.label_kinds import typed_label
from postsense.errors import ModelError
from postsense.files.json_files import read_json_file
from postsense.posts import LabelKind
from postsense.saving.files import (
    ANEW,
    DESCRIPTION,
    KEYS,
    WEIGHTS,
    file_hashes,
    inside,
    own_keys,
)

FORMAT, FORMAT_WITH_MEMBERS = 1, 2
Width = Annotated[StrictInt, Field(ge=1, le=2**20)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=2**16)]


class Description(BaseModel):
    """What model.json says, beside what only other versions read.

    text_dim, image_dim: widths D that encoders give. label_kind: what the labels were that classes
    stand for; texts, where an earlier version wrote it. clusters: that classes are names of.
    frozen: what each encoder beside the folder was, own: what the texts of each inside it are.
    corpus: the id of the corpus that lent comments; None: written before it was noted. files: their
    SHA-256.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    classes: Annotated[tuple[Name, ...], Field(min_length=1)]
    label_kind: LabelKind = "text"
    clusters: Width | None = None
    text_dim: Width | None
    image_dim: Width | None
    frozen: dict[str, Name]
    own: dict[str, Name]
    weights_sha256: Name
    corpus: Name | None = None
    files: dict[str, Name] | None = None
    config: dict[str, Any]

    @validates("classes")
    @classmethod
    def _are_unique(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError("a class more than once")
        return classes

    @model_validator(mode="after")
    def _are_of_their_kind(self) -> Self:
        for name in self.classes:
            typed_label(name, self.label_kind)
        return self


def read_description(folder: Path) -> Description:
    """What model.json in the folder says; it belongs to the files beside it.

    Raises: ModelError: missing, damaged, of another format, or a file is not what it says.
    """
    found = read_raw(folder)
    file = folder / DESCRIPTION
    _refuse_unknown_format(file, found, FORMAT)
    if "sha256" in found and found["sha256"] != digest_of(found):
        expected = f"SHA-256 {found['sha256']} of what it says"
        raise ModelError(file, expected, digest_of(found), f"The file is damaged. {ANEW}")
    try:
        description = Description.model_validate(found)
    except ValidationError as error:
        raise ModelError(file, "a description of a model", _problem(error), ANEW) from None
    _verify_files(folder, description)
    return description


def has_members(found: Mapping[str, Any]) -> bool:
    """Whether a description is of an ensemble, see `saving.ensemble`."""
    return found.get("format") == FORMAT_WITH_MEMBERS and "members" in found


def digest_of(description: Mapping[str, Any]) -> str:
    """The SHA-256 of all that a description says, however its JSON is laid out."""
    said = {key: value for key, value in description.items() if key != "sha256"}
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_raw(folder: Path) -> dict[str, Any]:
    """The object in model.json. Raises: ModelError: there is none."""
    file = folder / DESCRIPTION
    try:
        description = read_json_file(inside(folder, file) if file.exists() else file)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            folder, "a model folder", "no model.json in it", "Check the path."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(file, "JSON in UTF-8", str(error), ANEW) from None
    return description if isinstance(description, dict) else {}


def _refuse_unknown_format(file: Path, found: Mapping[str, Any], known: int) -> None:
    version = found.get("format", FORMAT)
    if version != known or isinstance(version, bool | float):
        raise ModelError(
            file,
            f"format {known}",
            f"format {version}",
            f"Use the postsense that wrote it ({found.get('postsense')}), or train again.",
        )
    missing = sorted(KEYS - set(found))
    if missing:
        raise ModelError(file, f"the keys {sorted(KEYS)}", f"no {missing}", ANEW)


def _problem(error: ValidationError) -> str:
    """The first thing that is wrong, without the value itself, which may be of any size."""
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"in '{place}': {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _verify_files(folder: Path, description: Description) -> None:
    """Refuse files that are not those the description was written for."""
    found = file_hashes(folder)
    _verify_weights(folder, description.weights_sha256, found.get(WEIGHTS))
    own = own_keys(folder)
    if own != description.own:
        expected = f"the files of its trained encoders, {description.own}"
        raise ModelError(folder, expected, f"{own}", f"The files are damaged. {ANEW}")
    if description.files is not None and found != description.files:
        changed = {name for name, _ in found.items() ^ description.files.items()}
        expected = f"the files {sorted(description.files)} as they were written"
        found_changed = f"{sorted(changed)} changed or missing"
        raise ModelError(folder, expected, found_changed, f"The files are damaged. {ANEW}")


def _verify_weights(folder: Path, expected: str, found: str | None) -> None:
    file = folder / WEIGHTS
    if found is None:
        raise ModelError(file, "the model's weights", "no such file", ANEW)
    if found != expected:
        raise ModelError(file, f"SHA-256 {expected}", found, f"The file is damaged. {ANEW}")

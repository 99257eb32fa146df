"""An ensemble on disk: its members as models of their own, and how their answers are joined.

model.json          format, version, classes, settings, members and weights, checksums
seen.safetensors    hashes of the posts that training saw
members/N/M/        the M-th seed of the N-th member, a model folder
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, ValidationError, model_validator

from postsense import __version__
from postsense.config.local import without_machine
from postsense.data.label_kinds import typed_label
from postsense.errors import ModelError
from postsense.files.atomic import write_json
from postsense.posts import LabelKind
from postsense.prediction.classifier import Classifier
from postsense.prediction.ensemble import Ensemble, Member, Pool
from postsense.saving.description import FORMAT_WITH_MEMBERS, Name, digest_of
from postsense.saving.files import ANEW, DESCRIPTION, MEMBERS, SEEN, sha256
from postsense.saving.seen import read_seen_file, write_seen

_MOST = 64
Share = Annotated[StrictFloat, Field(ge=0, le=1, allow_inf_nan=False)]


class _Member(BaseModel):
    """A member: its name, its weight, and the SHA-256 of the descriptions of its models."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    weight: Share
    models: Annotated[tuple[Name, ...], Field(min_length=1, max_length=_MOST)]


class EnsembleDescription(BaseModel):
    """What model.json says of an ensemble."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    classes: Annotated[tuple[Name, ...], Field(min_length=1)]
    label_kind: LabelKind
    members: Annotated[tuple[_Member, ...], Field(min_length=1, max_length=_MOST)]
    prior: tuple[Share, ...]
    prior_shift: Share
    temperature: Annotated[StrictFloat, Field(gt=0, le=100)]
    trust: Share
    seen_sha256: Name | None
    config: dict[str, Any]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class more than once")
        if len(self.prior) != len(self.classes):
            raise ValueError("a prior of other classes")
        if abs(sum(member.weight for member in self.members) - 1) > 1e-6:
            raise ValueError("weights that do not sum to 1")
        for name in self.classes:
            typed_label(name, self.label_kind)
        return self


def write_ensemble(
    ensemble: Ensemble, folder: Path, save: Callable[[Classifier, Path], None]
) -> None:
    """Write an ensemble into an empty folder. save: writes the model of a member to a folder."""
    members = []
    for number, member in enumerate(ensemble.members):
        places = [
            folder / MEMBERS / str(number) / str(seed) for seed in range(len(member.classifiers))
        ]
        for classifier, place in zip(member.classifiers, places, strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            save(classifier, place)
        members.append(
            {
                "name": member.name,
                "weight": ensemble.pool.weights[number],
                "models": [sha256(place / DESCRIPTION) for place in places],
            }
        )
    if ensemble.seen is not None:
        write_seen(ensemble.seen, folder)
    pool = ensemble.pool
    description = {
        "format": FORMAT_WITH_MEMBERS,
        "postsense": __version__,
        "classes": list(ensemble.classes),
        "label_kind": ensemble.label_kind,
        "members": members,
        "prior": list(pool.prior),
        "prior_shift": float(pool.prior_shift),
        "temperature": float(pool.temperature),
        "trust": float(pool.trust),
        "seen_sha256": sha256(folder / SEEN) if ensemble.seen is not None else None,
        "config": without_machine(ensemble.config.model_dump(mode="json")),
    }
    write_json(folder / DESCRIPTION, {**description, "sha256": digest_of(description)})


def read_ensemble(folder: Path, found: dict[str, Any]) -> EnsembleDescription:
    """What a description says that has members. Raises: ModelError: damaged."""
    file = folder / DESCRIPTION
    if found.get("sha256") != digest_of(found):
        expected = f"SHA-256 {found.get('sha256')} of what it says"
        raise ModelError(file, expected, digest_of(found), f"The file is damaged. {ANEW}")
    try:
        return EnsembleDescription.model_validate(found, strict=False)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        found_problem = f"in '{place}': {problem['msg']}"
        raise ModelError(file, "a description of an ensemble", found_problem, ANEW) from None


def joined_ensemble(
    folder: Path,
    described: EnsembleDescription,
    parse: Callable[[dict[str, Any]], Any],
    load: Callable[[Path], Any],
) -> Ensemble:
    """The ensemble that is described. parse: its settings; load: reads the model of a member.

    Raises: ModelError: a member is missing or damaged, another one, or of other classes.
    """
    members = []
    for number, member in enumerate(described.members):
        places = [folder / MEMBERS / str(number) / str(seed) for seed in range(len(member.models))]
        models = [
            _loaded(place, known, described, load)
            for place, known in zip(places, member.models, strict=True)
        ]
        members.append(Member(member.name, tuple(models)))
    pool = Pool(
        weights=tuple(member.weight for member in described.members),
        prior=described.prior,
        prior_shift=described.prior_shift,
        temperature=described.temperature,
        trust=described.trust,
    )
    seen = None if described.seen_sha256 is None else _seen(folder, described.seen_sha256)
    config = parse(described.config)
    return Ensemble(config, described.classes, tuple(members), pool, described.label_kind, seen)


def _loaded(
    place: Path, known: str, described: EnsembleDescription, load: Callable[[Path], Any]
) -> Classifier:
    file = place / DESCRIPTION
    expected = f"the description of a member, of SHA-256 {known}"
    if file.is_symlink() or place.is_symlink() or not file.is_file():
        raise ModelError(file, expected, "no such file", ANEW)
    if (found := sha256(file)) != known:
        raise ModelError(file, expected, found, f"The file is damaged. {ANEW}")
    classifier = load(place)
    if not isinstance(classifier, Classifier):
        raise ModelError(file, "a member that is one model", "an ensemble", ANEW)
    if classifier.classes != described.classes:
        raise ModelError(file, f"classes {described.classes}", f"{classifier.classes}", ANEW)
    return classifier


def _seen(folder: Path, known: str) -> Any:
    file = folder / SEEN
    if file.is_symlink() or not file.is_file():
        raise ModelError(file, "hashes of posts", "no such file", ANEW)
    if (found := sha256(file)) != known:
        raise ModelError(file, f"SHA-256 {known}", found, f"The file is damaged. {ANEW}")
    return read_seen_file(file)

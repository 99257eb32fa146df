"""A table of declarations by name, and the code that a declaration names."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar

from postsense.errors import ConfigError, nearest


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)


class UnknownNameError(ConfigError, KeyError):
    """A table has no entry of this name."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError's would be in quotes


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Declarations of one kind by name, in the order in which they were registered."""

    def __init__(self, kind: str, entries: Iterable[Entry]) -> None:
        """kind: what an entry is, for messages."""
        self.kind = kind
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            self.register(entry)

    def register(self, entry: Entry) -> Entry:
        """Add an entry and return it. Raises: ConfigError: there is one of this name."""
        if entry.name in self._entries:
            fix = "Choose another name."
            raise ConfigError(f"{self.kind} '{entry.name}'", "a new name", "one in use", fix)
        self._entries[entry.name] = entry
        return entry

    def forget(self, name: str) -> None:
        """Take an entry out again, such as one that a test registered."""
        del self._entries[name]

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            fix = nearest(str(name), self._entries)
            raise UnknownNameError(self.kind, "a name that is known", f"'{name}'", fix) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def load_object(place: str | Callable[..., Any]) -> Any:
    """What a declaration names as "module:object", imported now; an object is returned as it is."""
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)

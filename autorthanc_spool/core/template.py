"""Templates of names: text with the values of DICOM attributes in it, in components that are separated by a slash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

# Of 200 bytes each, and two templates together, they stay well below the 4096 bytes that a path may have.
MAX_COMPONENTS = 8


@dataclass(frozen=True)
class Value:
    """The value of an attribute, of a date (VR DA) in a format of strftime; `tag` is ``gggg,eeee`` in lower case."""

    keyword: str
    tag: str
    date_format: str = ""

    def text(self, value: str) -> str:
        """Write the value; a date that isn't one reads as nothing."""
        if not self.date_format:
            return value
        try:
            return datetime.strptime(value.strip(" \0"), "%Y%m%d").strftime(self.date_format)
        except ValueError:
            return ""


Component = tuple[str | Value, ...]


@dataclass(frozen=True)
class Template:
    """The components of a path, each made of text and values."""

    components: tuple[Component, ...]

    @property
    def values(self) -> tuple[Value, ...]:
        """The values that it names."""
        return tuple(part for parts in self.components for part in parts if isinstance(part, Value))

    @property
    def tags(self) -> dict[str, str]:
        """The attributes that it names: keyword and tag."""
        return {value.keyword: value.tag for value in self.values}

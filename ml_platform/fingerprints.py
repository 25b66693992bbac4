"""Data versions: digests of all that a result depends on, so that done twice is done once."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from ml_platform.code_versions import code_of, versions_of


@dataclass(frozen=True)
class Recipe:
    """How a stage computes: all that its results depend on but the data, part by part."""

    code: Mapping[str, str]
    config: Mapping[str, str]
    environment: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """The recipe's digest, 16 hexadecimal digits."""
        return digest(asdict(self))


def recipe(references: Sequence[str], config: Mapping[str, Any], packages: Sequence[str]) -> Recipe:
    """The recipe of functions, their configuration, and the packages that matter besides those they import."""
    found = [code_of(reference) for reference in references]
    return Recipe(
        code={name: version for code in found for name, version in code.definitions.items()},
        config=dict(_flat("", config)),
        environment={
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            **versions_of({"ml-platform", *packages, *(package for code in found for package in code.packages)}),
        },
    )


def digest(value: Any) -> str:
    """The digest of a value that JSON can hold: 16 hexadecimal digits, below 2^63 as a number.

    It is the head of the value's SHA-256; 63 bits are enough to tell a result from the one before it.
    """
    text = json.dumps(value, sort_keys=True).encode()
    return f"{int.from_bytes(sha256(text).digest()[:8]) >> 1:016x}"


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each single value of nested configuration, as JSON, by its path."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}" if path else name, inner)
    else:
        yield path, json.dumps(value)

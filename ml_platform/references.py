"""References to Python objects by name, checked without importing what they name."""

import ast
import importlib
import importlib.util
from difflib import get_close_matches
from pathlib import Path
from typing import Any


def did_you_mean(word: str, choices: list[str]) -> str:
    """The tail of an error sentence: what was meant if it is close, else what there is to choose from."""
    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(f"'{choice}'" for choice in sorted(choices)[:12])
    return f"there is {shown}." if shown else "there is none."


def absolute(reference: str, package: str) -> str:
    """`.features:build` beside a YAML file of the package `package` as `package.features:build`."""
    return package + reference if reference.startswith(".") else reference


def split(reference: str) -> tuple[str, str]:
    """Module and attribute of `module:attribute` or `package.module.attribute`."""
    module, _, attribute = reference.rpartition(":" if ":" in reference else ".")
    return module, attribute


def load(reference: str) -> Any:
    """The object that a checked reference names."""
    module, attribute = split(reference)
    return getattr(importlib.import_module(module), attribute)


def problem(reference: str) -> str | None:
    """What is wrong with a reference, as a sentence, or None where it names something.

    The module is looked for and read, never imported: loading the definitions must stay light and free of side effects.
    """
    module, attribute = split(reference)
    if not module or not attribute.isidentifier():
        return f"'{reference}' is no reference to a Python object; write 'package.module.Name' or '.module:name'."
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:
        spec = None
    if spec is None:
        return f"no package '{top}' is installed here; install it or correct '{reference}'."
    # a package without __init__.py may lie in several folders and has no origin
    places = [Path(folder) for folder in spec.submodule_search_locations or ()] or [Path(spec.origin or "")]
    place = next((place for place in places if rest and _module_file(place, rest[0])), places[0])
    for depth, name in enumerate(rest, start=1):
        found = _module_file(place, name)
        if found is None:
            parent = ".".join([top, *rest[: depth - 1]])
            return f"'{parent}' has no module '{name}'; {did_you_mean(name, _module_names(place))}"
        place = found
    names = _names_in(place)
    if names is None or attribute in names:
        return None
    return f"'{module}' has no '{attribute}'; {did_you_mean(attribute, names)}"


def _module_file(folder: Path, name: str) -> Path | None:
    if (folder / name).is_dir():
        return folder / name
    return next((path for path in sorted(folder.glob(f"{name}.*")) if path.suffix in {".py", ".so", ".pyd"}), None)


def _module_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [path.stem for path in folder.iterdir() if path.suffix == ".py" and not path.stem.startswith("_")] + [
        path.name for path in folder.iterdir() if (path / "__init__.py").exists()
    ]


def _names_in(place: Path) -> list[str] | None:
    """The public names a module's text defines; None where only importing it could tell."""
    file = place / "__init__.py" if place.is_dir() else place
    if file.suffix != ".py" or not file.exists():
        return None
    names: list[str] = []
    for node in ast.parse(file.read_bytes(), str(file)).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.append(node.name)
            case ast.Import() | ast.ImportFrom():
                names += [alias.asname or alias.name.partition(".")[0] for alias in node.names]
            case ast.Assign() | ast.AnnAssign():
                names += [
                    name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
                ]
            case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While() | ast.Match():
                return None
    return None if {"*", "__getattr__"}.intersection(names) else [name for name in names if not name.startswith("_")]

"""What the code behind a reference is made of, read from its text without importing it."""

import ast
import functools
import importlib.metadata
import importlib.util
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Literal

from ml_platform import references

_STATEMENTS = "<module>"  # as in a traceback: what a module runs besides its definitions
_ALL = "*"
_STANDARD_LIBRARY = Path(ast.__file__).parent
_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_Place = tuple[str, tuple[str, ...]]  # a module and a chain of attributes from it; without any, the module as an object

_Found = tuple[Literal["project", "package", "standard", "missing"], ModuleSpec | None]


@dataclass(frozen=True)
class Code:
    """What a function is made of.

    Attributes:
        definitions: a digest of 16 hexadecimal digits for the function and every name of the project it reaches, by
            `package.module:name`. `<module>` is what a module runs besides its definitions, `*` what it imports with
            `*`, or all of a module that cannot be read as Python.
        packages: the top-level names of the installed packages it reaches, without the standard library.
    """

    definitions: Mapping[str, str]
    packages: frozenset[str]


@dataclass(frozen=True)
class _Part:
    """A name of a module: its digest, what it uses, what it stands for if imported, the modules of its decorators."""

    digest: str
    uses: frozenset[_Place] = frozenset()
    stands_for: frozenset[_Place] = frozenset()
    decorated_by: frozenset[str] = frozenset()


def code_of(reference: str) -> Code:
    """The code that an absolute reference reaches in the modules of the project, and the packages it uses there.

    Comments, layout and bare strings such as docstrings are no part of it. Annotations are, because dataclasses and
    models are made of them. To miss nothing, these are part of it as well:

    - what has a name that occurs in it, even where a local variable of that name is meant;
    - what else a reached module and the packages around it run: statements that are neither definitions nor imports,
      definitions with a decorator of the project, which may register them, and modules that an `import` names and
      nothing uses, so that they are there for their effects;
    - the whole of a module that is used as an object, imported with `*`, or does not show the name looked for.

    A module that is not there counts by its name, one that cannot be parsed by its bytes; neither is an error. Names
    made at run time, such as those in strings, are not followed, nor are subclasses from a base class.
    """
    definitions: dict[str, str] = {}
    packages: set[str] = set()
    find = functools.cache(_find)  # for this once: modules come and go
    read = functools.cache(lambda module: _read(module, find(module)[1]))
    module, name = references.split(reference)
    todo: list[_Place] = [(module, (name,))]
    seen: set[_Place] = set()
    while todo:
        if (place := todo.pop()) in seen:
            continue
        seen.add(place)
        module, chain = place
        kind, _ = find(module)
        if kind == "package":
            packages.add(module.partition(".")[0])
        elif kind != "standard":
            parts, further = _reached(module, chain, read(module), find)
            definitions |= {f"{module}:{name}": part.digest for name, part in parts.items()}
            todo += further
    return Code(dict(sorted(definitions.items())), frozenset(packages))


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The versions of the distributions that bring these packages, by distribution; without unknown packages."""
    return {name: version for package in sorted(packages) for name, version in _versions(package)}


@functools.cache  # a process goes on with what it has imported
def _versions(package: str) -> Sequence[tuple[str, str]]:
    try:
        names = [importlib.metadata.distribution(_DISTRIBUTIONS.get(package, package)).name]
    except importlib.metadata.PackageNotFoundError:
        names = _distributions().get(package, [])
    return [(name, importlib.metadata.version(name)) for name in names]


# known without opening the metadata of everything installed, which takes half a second
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow"}


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _find(module: str) -> _Found:
    spec: ModuleSpec | None = None
    folders: list[str] | None = None
    for name in module.split("."):
        try:
            # the last name alone: for a dotted one the import system asks for the imported package
            spec = importlib.util.find_spec(name) if folders is None else PathFinder.find_spec(name, folders)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            return "missing", None
        folders = [*(spec.submodule_search_locations or ())]
        paths = [Path(place) for place in ([spec.origin or ""] if spec.has_location else folders)]
        if paths and all({"site-packages", "dist-packages"}.intersection(path.parts) for path in paths):
            return "package", spec
        if all(path.is_relative_to(_STANDARD_LIBRARY) for path in paths):  # or there is none: it is built into Python
            return "standard", spec
    return "project", spec


def _reached(
    module: str, chain: tuple[str, ...], parts: dict[str, _Part], find: Callable[[str], _Found]
) -> tuple[dict[str, _Part], list[_Place]]:
    """The parts of a module that a chain of attributes reaches, and where to go on from there."""
    further: list[_Place] = [(module.rpartition(".")[0], (_STATEMENTS,))] if "." in module else []
    registered = {name for name, part in parts.items() if any(find(m)[0] == "project" for m in part.decorated_by)}
    names = {_STATEMENTS} | registered
    if chain and chain[0] in parts.keys() - {_STATEMENTS}:
        names |= {chain[0], _ALL}
    elif chain and find(f"{module}.{chain[0]}")[1]:
        further.append((f"{module}.{chain[0]}", chain[1:]))
    elif chain != (_STATEMENTS,):
        names = set(parts)
    parts = {name: part for name, part in parts.items() if name in names}
    for name, part in parts.items():
        rest = chain[1:] if chain[:1] == (name,) else ()
        further += [*part.uses, *((other, start + rest) for other, start in part.stands_for)]
    return parts, further


def _read(module: str, spec: ModuleSpec | None) -> dict[str, _Part]:
    if spec is None or not spec.origin:
        return {_ALL: _Part(_digest(b""))}
    package = module if spec.submodule_search_locations is not None else module.rpartition(".")[0]
    try:
        stat = Path(spec.origin).stat()
        return _parse(Path(spec.origin), module, package, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return {_ALL: _Part(_digest(b""))}


def _tree(text: bytes, file: Path) -> ast.Module:
    try:
        return ast.parse(text, str(file))
    # Python before 3.11.8 takes two threads that parse for one: github.com/python/cpython/issues/106905
    except SystemError:
        return ast.parse(text, str(file))


@functools.cache
def _parse(file: Path, module: str, package: str, _mtime_ns: int, _size: int) -> dict[str, _Part]:
    text = file.read_bytes()
    try:
        tree = _tree(text if file.suffix == ".py" else b"\0", file)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {_ALL: _Part(_digest(text))}
    statements: defaultdict[str, list[ast.stmt]] = defaultdict(list)
    for statement in tree.body:
        for name in _names(statement):
            statements[name].append(statement)
    imported: defaultdict[str, set[_Place]] = defaultdict(set)
    for name, place in _imports(tree, module, package):
        imported[name].add(place)
    origins = {name: {module} for name in statements} | {
        name: {source for source, _ in places} for name, places in imported.items()
    }
    parts = {}
    for name in origins:
        decorators = [one for node in statements[name] for one in getattr(node, "decorator_list", ())]
        parts[name] = _Part(
            _digest("\n".join([*_words(statements[name]), *map(repr, sorted(imported[name]))]).encode()),
            frozenset((module, chain) for chain in _chains(statements[name]) if chain[0] in origins),
            frozenset(imported[name]),
            frozenset(origin for chain in _chains(decorators) for origin in origins.get(chain[0], ())),
        )
    return parts


def _names(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module defines, and `<module>` if it may do more than that."""
    if isinstance(statement, _DEFINITION):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)) or _is_bare_constant(statement):
        return set()
    nodes = [*ast.walk(statement)]
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        within = [node for target in targets for node in ast.walk(target)]
        elsewhere = [node for node in within if isinstance(node, (ast.Attribute, ast.Subscript))]
        if not elsewhere and not any(isinstance(node, ast.NamedExpr) for node in nodes):
            return {node.id for node in within if isinstance(node, ast.Name)}
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return stored | {node.name for node in nodes if isinstance(node, _DEFINITION)} | {_STATEMENTS}


def _imports(tree: ast.Module, module: str, package: str) -> Iterator[tuple[str, _Place]]:
    """The names that are imported anywhere in a module, with what they stand for."""
    used = _chains([tree])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                path = tuple(alias.name.split("."))
                yield alias.asname or path[0], (alias.name if alias.asname else path[0], ())
                if not alias.asname and all(chain[: len(path)] != path for chain in used):
                    yield _STATEMENTS, (alias.name, ())
        elif isinstance(node, ast.ImportFrom):
            around = package.rsplit(".", node.level - 1)[:1] if node.level else []
            source = ".".join([*around, *([node.module] if node.module else [])])
            for alias in node.names:
                if alias.name == _ALL:
                    yield _ALL, (source, ())
                elif source == module:  # what a package imports from itself is a module below it
                    yield alias.asname or alias.name, (f"{source}.{alias.name}", ())
                else:
                    yield alias.asname or alias.name, (source, (alias.name,))


def _chains(nodes: Iterable[ast.AST]) -> set[tuple[str, ...]]:
    """Every name that occurs, with the attributes behind it."""
    chains = set()
    todo = [*nodes]
    while todo:
        node = todo.pop()
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            chains.add((node.id, *attributes))
        else:
            todo += ast.iter_child_nodes(node)
    return chains


def _words(statements: list[ast.stmt]) -> Iterator[str]:
    """Syntax as words, without layout and bare strings, nor the fields that are empty: a newer Python has more."""
    todo: list[object] = [statements]
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            items = [one for one in item if not _is_bare_constant(one)]
            yield f"[{len(items)}]"
            todo += reversed(items)
        elif isinstance(item, ast.AST):
            yield type(item).__name__
            todo.append(")")
            for name, value in ast.iter_fields(item):
                if name not in {"ctx", "kind"} and value not in (None, []):
                    todo += [value, name]
        else:
            yield repr(item)


def _is_bare_constant(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _digest(text: bytes) -> str:
    return blake2b(text, digest_size=8).hexdigest()

"""The digests of a function change with the code that it reaches, and with nothing else."""

import ast
import importlib.metadata
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform import code_versions
from ml_platform.code_versions import Code, code_of, versions_of

BUILD = "shop.features:build"
FEATURES = '''\
"""The features."""

from shop.windows import trailing

LIMIT = 3
OTHER = 4


def build(rows):
    """What is bought."""
    return trailing(rows["item"], LIMIT)


def unrelated(rows):
    return other(rows, OTHER)
'''
WINDOWS = """\
def trailing(rows, limit):
    return first(rows, limit)

def first(rows, limit):
    return rows[:limit]

def last(rows, limit):
    return rows[-limit:]
"""

Write = Callable[[dict[str, str]], None]
CLOCK = itertools.count(1)


def save(file: Path, text: str) -> None:
    """Each time as if a second later: the clock of a file system may be slower than a test."""
    file.write_text(text)
    os.utime(file, (now := next(CLOCK), now))


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes modules of a project."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            save(tmp_path / name, text)

    write({"shop/__init__.py": "", "shop/features.py": FEATURES, "shop/windows.py": WINDOWS})
    return write


@pytest.fixture
def changes(write: Write) -> Callable[[dict[str, str], dict[str, str]], bool]:
    """Whether the code of `shop.features:build` is another one after some files are edited."""

    def changes(files: dict[str, str], edited: dict[str, str]) -> bool:
        write(files)
        before = code_of(BUILD)
        write(edited)
        assert code_of(BUILD) == code_of(BUILD)
        return code_of(BUILD) != before

    return changes


Changes = Callable[[dict[str, str], dict[str, str]], bool]


def test_every_definition_that_is_reached_has_a_digest(write: Write) -> None:
    assert write
    code = code_of(BUILD)
    assert list(code.definitions) == [
        "shop.features:LIMIT",
        "shop.features:build",
        "shop.features:trailing",  # the import
        "shop.windows:first",
        "shop.windows:trailing",
    ]
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in code.definitions.values())
    assert code.packages == frozenset()
    assert code_of("shop.features.build") == code


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3\n", "LIMIT = 3  # at most\n\n\n"),
        ("LIMIT = 3", "LIMIT = (\n    3\n)"),
        ('rows["item"]', "rows[u'item']"),
        ('"""What is bought."""', '"""What is sold."""\n    "and more"'),
        ('    """What is bought."""\n', ""),
        ('"""The features."""', ""),
        ("OTHER = 4", "OTHER = 5"),
        ("return other(rows, OTHER)", "return 0"),
        ("LIMIT = 3\nOTHER = 4\n", "OTHER = 4\nLIMIT = 3\nANOTHER = 5\n"),
        (
            "from shop.windows import trailing",
            "import shop.unheard_of as u\nfrom shop.windows import last, trailing",
        ),
    ],
)
def test_layout_docstrings_and_unrelated_code_change_nothing(changes: Changes, old: str, new: str) -> None:
    assert old in FEATURES
    assert not changes({}, {"shop/features.py": FEATURES.replace(old, new)})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT)", "LIMIT + 1)"),
        ("LIMIT)", "LIMIT), 'a string'"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", "LIMIT: int = 3"),
        ("LIMIT = 3", "LIMIT = 3\nLIMIT = 2"),
        ("LIMIT = 3", "LIMIT, THAT = 3, 2"),
        ("def build(rows):", "def build(rows: list):"),  # annotations count: dataclasses are made of them
        ("import trailing", "import last as trailing"),
    ],
)
def test_the_function_and_what_it_names_count(changes: Changes, old: str, new: str) -> None:
    assert changes({}, {"shop/features.py": FEATURES.replace(old, new)})


def test_what_is_reached_across_modules_counts_and_its_neighbours_do_not(changes: Changes) -> None:
    assert changes({}, {"shop/windows.py": WINDOWS.replace("rows[:limit]", "rows[limit:]")})
    assert not changes({}, {"shop/windows.py": WINDOWS.replace("rows[:limit]", "rows[limit:]") + "LAST = last\n"})
    assert not changes(
        {}, {"shop/windows.py": WINDOWS.replace("rows[:limit]", "rows[limit:]").replace("[-limit:]", "")}
    )


@pytest.mark.parametrize(
    "features",
    [
        "from shop.parts import used\ndef build(rows): return used(rows)",
        "from shop.parts import used as u\ndef build(rows): return u(rows)",
        "from .parts import used\ndef build(rows): return used(rows)",
        "from . import parts\ndef build(rows): return parts.used(rows)",
        "from shop import parts as p\ndef build(rows): return p.used(rows)",
        "import shop.parts\ndef build(rows): return shop.parts.used(rows)",
        "import shop\ndef build(rows): return shop.parts.used(rows)",
        "import shop.parts as p\ndef build(rows): return p.used.__wrapped__(rows)",
        "from shop import reexported\ndef build(rows): return reexported(rows)",
        "import shop\ndef build(rows): return shop.reexported(rows)",
        "from .inner import used\ndef build(rows): return used(rows)",
        "from shop import itself\ndef build(rows): return itself.used(rows)",
        "def build(rows):\n    from shop.parts import used\n    return used(rows)",
        "def build(rows):\n    import shop.parts as p\n    return p.used(rows)",
        "from shop.parts import used\n@used\ndef build(rows): ...",
        "from shop.parts import used\ndef build(rows, by=used): ...",
        "from shop.parts import used\ndef build(rows, *, by=[used]): ...",
        "from shop.parts import used\nclass build(used): ...",
        "from shop.parts import used\nclass build:\n    key = used",
        "from shop.parts import used\nclass build:\n    def fit(self): return used",
        "from shop.parts import used\ndef build(rows):\n    def inner(): return used(rows)\n    return inner()",
        "from shop.parts import used\ndef build(rows): return [f'{used(row)}' for row in rows]",
        "from shop.parts import used\nbuild = used",
        "from shop.parts import used\nTABLE = {'a': used}\ndef build(rows): return TABLE['a'](rows)",
        "from shop.parts import used\nfrom dataclasses import dataclass\n@dataclass\nclass build:\n    field: used",
        "try:\n    from shop.parts import used\nexcept ImportError: ...\ndef build(rows): return used(rows)",
    ],
)
def test_every_way_to_reach_a_name_counts_for_that_name_alone(changes: Changes, features: str) -> None:
    parts = "def used(rows): return deep(rows)\ndef deep(rows): return rows\ndef unused(rows): return 1\n"
    init = "from .parts import used as reexported, unused\nfrom . import parts, parts as itself\n"
    files = {"shop/__init__.py": init, "shop/features.py": features, "shop/parts.py": parts}
    files["shop/inner/__init__.py"] = "from ..parts import unused, used"
    assert changes(files, {"shop/parts.py": parts.replace("return deep(rows)", "return 0")})
    assert changes(files, {"shop/parts.py": parts.replace("return rows", "return 0")})
    assert not changes(files, {"shop/parts.py": parts.replace("return 1", "return 0")})


def test_names_that_are_swapped_on_import_count(changes: Changes) -> None:
    features = "from shop import a, b\ndef build(rows): return a(b(rows))"
    init = "from shop.windows import first as {}, last as {}"
    files = {"shop/__init__.py": init.format("a", "b"), "shop/features.py": features}
    assert changes(files, {"shop/__init__.py": init.format("b", "a")})


@pytest.mark.parametrize(
    "statement",
    [
        "if True:\n    LIMIT = {}",
        "try:\n    LIMIT = {}\nfinally: ...",
        "for _ in range({}): ...",
        "with open('f') as f: f.write({})",
        "register({})",
        "LIMITS.append({})",
        "LIMITS += {}",
        "LIMITS[0] = {}",
        "pl.Config.limit = {}",
        "LIMITS, pl.limit = {}, 0",
        "OF = (LIMITS := {})",
        "register(helper)\ndef helper(): return {}",
        "import shop.accessors{}  # there for its effects",
        "def register(f): ...\n@register\ndef column(rows): return {}",
        "from shop.registry import register\n@register(1)\ndef column(rows): return {}",
    ],
)
@pytest.mark.parametrize("module", ["features", "windows", "__init__"])
def test_what_a_reached_module_runs_besides_its_definitions_counts(
    changes: Changes, module: str, statement: str
) -> None:
    text = {"features": FEATURES, "windows": WINDOWS, "__init__": ""}[module]
    files = {"shop/registry.py": "def register(n): ..."}
    one, two = (f"{text}\n{statement.format(n)}\n" for n in (1, 2))
    assert changes(files | {f"shop/{module}.py": one}, {f"shop/{module}.py": two})
    assert not changes({"shop/other.py": one}, {"shop/other.py": two})


@pytest.mark.parametrize(
    "features",
    [
        f"import shop.accessors\n{FEATURES}",
        "import shop.accessors\nimport shop.windows\ndef build(rows): return shop.windows.first(rows)",
        "def build(rows):\n    import shop.accessors\n    return rows.money",
    ],
)
def test_a_module_imported_for_its_effects_counts_as_a_whole(changes: Changes, features: str) -> None:
    files = {"shop/features.py": features, "shop/accessors.py": "class Money: rate = 1"}
    assert changes(files, {"shop/accessors.py": "class Money: rate = 2"})


def test_a_decorator_from_outside_the_project_registers_nothing(changes: Changes) -> None:
    cached = "from functools import cache\n@cache\ndef column(rows): return {}\n"
    assert not changes(
        {"shop/features.py": FEATURES + cached.format(1)}, {"shop/features.py": FEATURES + cached.format(2)}
    )


@pytest.mark.parametrize(
    "features",
    [
        "from shop.parts import *\ndef build(rows): return used(rows)",
        "from shop.parts import lazy\ndef build(rows): return lazy(rows)",
        "import shop.parts\ndef build(rows): return getattr(shop.parts, 'us' + 'ed')(rows)",
        "from shop import parts as p\ndef build(rows): return vars(p)",
        "from shop.within import used\ndef build(rows): return used(rows)",
    ],
)
def test_the_whole_module_counts_where_names_cannot_be_told(changes: Changes, features: str) -> None:
    parts = "from shop.windows import last\ndef __getattr__(name): ...\ndef any_other(): return 1"
    files = {"shop/features.py": features, "shop/parts.py": parts, "shop/within.py": "from shop.parts import *"}
    assert changes(files, {"shop/parts.py": parts.replace("1", "2")})
    assert not changes(files, {"shop/parts.py": parts + "  # a comment"})
    assert changes(files, {"shop/windows.py": WINDOWS.replace("[-limit:]", "")})


def test_what_a_package_imports_with_a_star_does_not_count_for_its_modules(changes: Changes) -> None:
    files = {"shop/__init__.py": "from shop.parts import *", "shop/parts.py": "ONE = 1"}
    assert not changes(files, {"shop/parts.py": "ONE = 2"})


def test_a_name_that_a_statement_defines_is_told_from_its_neighbours(changes: Changes) -> None:
    parts = "if True:\n    trailing = min\n    def first(): ...\ndef unused(): return 1"
    files = {"shop/features.py": FEATURES.replace("shop.windows", "shop.parts"), "shop/parts.py": parts}
    assert not changes(files, {"shop/parts.py": parts.replace("1", "2")})
    assert changes(files, {"shop/parts.py": parts.replace("min", "max")})


def test_a_compiled_module_counts_by_its_bytes(changes: Changes) -> None:
    suffix = EXTENSION_SUFFIXES[0]
    files = {"shop/features.py": FEATURES.replace("shop.windows", "shop.fast"), f"shop/fast{suffix}": "1"}
    assert changes(files, {f"shop/fast{suffix}": "2"})


def test_cycles_end(write: Write) -> None:
    write(
        {
            "shop/features.py": "from shop.parts import f, lost\ndef build(rows): return f(build), lost",
            "shop/parts.py": "from shop.features import build, lost\ndef f(rows): return build(f)",
        }
    )
    assert {"shop.features:build", "shop.parts:f"} < code_of(BUILD).definitions.keys()


@pytest.mark.parametrize("broken", ["def used(:", "\0", "(" * 1000, "def used(rows): return " + "-" * 100_000 + "1"])
def test_a_module_that_is_no_python_counts_by_its_bytes(changes: Changes, broken: str) -> None:
    files = {"shop/features.py": FEATURES.replace("shop.windows", "shop.parts"), "shop/parts.py": broken}
    assert changes(files, {"shop/parts.py": broken + "#"})


def test_a_module_that_is_missing_counts_by_its_name(changes: Changes) -> None:
    fast = (
        "try:\n    import fast_{0}\nexcept ImportError:\n    fast_{0} = None\ndef build(rows): return fast_{0}.f(rows)"
    )
    assert changes({"shop/features.py": fast.format("one")}, {"shop/features.py": fast.format("two")})
    assert "fast_two:*" in code_of(BUILD).definitions
    assert changes({}, {"fast_two.py": "def f(rows): ..."})
    assert code_of("nowhere.at_all:f").definitions.keys() == {"nowhere.at_all:*"}


def test_a_long_expression_is_read(changes: Changes) -> None:
    long = FEATURES.replace("LIMIT = 3", "LIMIT = " + " + ".join("1" * 2000))
    assert changes({"shop/features.py": long}, {"shop/features.py": long.replace("+ 1\n", "+ 2\n")})


def test_a_folder_without_init_is_a_package(changes: Changes) -> None:
    files = {"shop/features.py": "from bare.deep.parts import f\ndef build(rows): return f(rows)"}
    files["bare/deep/parts.py"] = "def f(rows): return 1"
    assert changes(files, {"bare/deep/parts.py": "def f(rows): return 2"})
    assert code_of("bare.deep.parts:f").definitions.keys() == {"bare.deep.parts:f"}


def test_the_packages_are_those_that_the_code_reaches(write: Write) -> None:
    write(
        {
            "shop/features.py": (
                "import math, json.decoder\nimport polars as pl\nimport pandas as pd\nfrom shop.parts import model\n"
                "def build(rows):\n    import pyarrow.compute as pc\n    return pl.col('a'), math.pi, pc.f(model())\n"
                "def unrelated(): return pd\n"
            ),
            "shop/parts.py": "from sklearn.linear_model import Ridge as model\nimport scipy.special\n",
        }
    )
    assert code_of(BUILD).packages == {"polars", "pyarrow", "sklearn", "scipy"}  # scipy for its effects


@pytest.mark.parametrize(
    ("reference", "packages"),
    [
        ("sklearn.linear_model.LogisticRegression", {"sklearn"}),
        ("sklearn.no.such.Thing", {"sklearn"}),
        ("collections.OrderedDict", set()),
        ("os.path:join", set()),
        ("itertools.count", set()),
    ],
)
def test_what_lies_outside_the_project_has_no_definitions(reference: str, packages: set[str]) -> None:
    assert code_of(reference) == Code({}, frozenset(packages))


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_what_is_installed_is_a_package(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    write({f"{folder}/bought/__init__.py": "def f(): ...", "shop/features.py": "from bought import f as build"})
    monkeypatch.syspath_prepend(tmp_path / folder)
    code = code_of(BUILD)
    assert (code.definitions.keys(), code.packages) == ({BUILD}, {"bought"})


def test_the_platform_beside_its_tests_is_of_the_project() -> None:
    code = code_of("ml_platform.defs.card_fraud.features:build")
    assert {"ml_platform.defs.card_fraud.features:WINDOWS", "ml_platform.ml.windows:trailing_windows"} < {
        *code.definitions
    }
    assert code.packages == {"polars", "numpy"}


def test_reading_imports_nothing(write: Write) -> None:
    write({"shop/features.py": "import polars\nraise RuntimeError\ndef build(rows): return polars"})
    check = (
        "import sys; from ml_platform.code_versions import code_of;"
        f"print(*code_of({BUILD!r}).packages, {{'shop', 'polars', 'dagster'}} & {{*sys.modules}})"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "polars set()\n"


def test_versions_are_those_of_the_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {name: importlib.metadata.version(name) for name in ("polars", "scikit-learn")}
    assert versions_of(["polars", "sklearn", "no_such_package"]) == expected
    monkeypatch.setattr(code_versions, "_distributions", None)  # slow, and not needed for these
    assert versions_of(frozenset({"polars"})) == {"polars": expected["polars"]}
    assert versions_of([]) == {}


SOURCES = sorted(Path(code_versions.__file__).parent.rglob("*.py"))


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_comments_blank_lines_and_layout_change_nothing(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = data.draw(st.sampled_from(SOURCES)).read_text()
    tree = ast.parse(text)
    starts = sorted({node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)})
    lines = text.splitlines()
    for line in sorted(data.draw(st.sets(st.sampled_from(starts))), reverse=True):
        lines.insert(line - 1, data.draw(st.sampled_from(["", "\t", "# a comment", "            # another one"])))
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        original, *others = (
            whole_module(folder / "laid_out.py", one) for one in (text, "\n".join(lines), ast.unparse(tree))
        )
    assert others == [original, original]


def test_a_module_is_parsed_once_more_where_python_loses_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    counted = whole_module(tmp_path / "counted.py", FEATURES)
    lost = SystemError("AST constructor recursion depth mismatch (before=18, after=10)")
    code_versions._parse.cache_clear()
    with patch.object(ast, "parse", side_effect=[lost, ast.parse(FEATURES)]) as parse:
        assert whole_module(tmp_path / "counted.py", FEATURES) == counted
    assert parse.call_count == 2


def whole_module(file: Path, text: str) -> Code:
    """The code of a module that is asked for a name it does not have, and so of all that it has."""
    save(file, text)
    return code_of(f"{file.stem}:no_such_name")

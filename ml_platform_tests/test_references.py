"""References are checked by reading the modules they name, and a wrong one is told with what was meant."""

import subprocess
import sys
from pathlib import Path

import pytest

from ml_platform import references
from ml_platform.references import absolute, did_you_mean, problem


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which modules can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("word", "choices", "tail"),
    [
        ("roc_acu", ["roc_auc", "recall"], "did you mean 'roc_auc'?"),
        ("weekly", ["week", "day", "month"], "did you mean 'week'?"),
        ("fortnight", ["week", "day"], "there is 'day', 'week'."),
        ("anything", [], "there is none."),
        ("zzz", [f"column_{index:02}" for index in range(99)], "'column_10', 'column_11'."),
    ],
)
def test_a_suggestion_is_the_closest_word_or_the_first_twelve_choices(word: str, choices: list[str], tail: str) -> None:
    assert did_you_mean(word, choices).endswith(tail)


def test_a_reference_that_begins_with_a_dot_is_relative_to_the_package() -> None:
    assert absolute(".features:build", "shop.defs.returns") == "shop.defs.returns.features:build"
    assert absolute("shop.features:build", "shop.defs.returns") == "shop.features:build"


@pytest.mark.parametrize("reference", ["collections.OrderedDict", "collections:OrderedDict"])
def test_a_dot_or_a_colon_stands_before_the_name(reference: str) -> None:
    from collections import OrderedDict

    assert problem(reference) is None
    assert references.load(reference) is OrderedDict


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        (
            "sklaern.ensemble.HistGradientBoostingClassifier",
            (
                "no package 'sklaern' is installed here; install it or correct "
                "'sklaern.ensemble.HistGradientBoostingClassifier'."
            ),
        ),
        (
            "sklearn.ensmble.HistGradientBoostingClassifier",
            "'sklearn' has no module 'ensmble'; did you mean 'ensemble'?",
        ),
        (
            "sklearn.ensemble.HistGradientBoostingClassifer",
            "'sklearn.ensemble' has no 'HistGradientBoostingClassifer'; did you mean 'HistGradientBoostingClassifier'?",
        ),
        ("json.decoder.x:JSONDecoder", "'json.decoder' has no module 'x'; there is none."),
        (
            "features",
            "'features' is no reference to a Python object; write 'package.module.Name' or '.module:name'.",
        ),
        (
            "features:a.b",
            "'features:a.b' is no reference to a Python object; write 'package.module.Name' or '.module:name'.",
        ),
        ("", "'' is no reference to a Python object; write 'package.module.Name' or '.module:name'."),
    ],
)
def test_a_wrong_reference_is_told_with_what_was_meant(reference: str, sentence: str) -> None:
    assert problem(reference) == sentence


def test_an_estimator_is_found_without_importing_scikit_learn() -> None:
    checked = "sklearn.ensemble.HistGradientBoostingClassifier"
    code = f"import sys, ml_platform.references as r; print(r.problem({checked!r}), 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]


def test_checking_a_module_does_not_run_it(modules: Path) -> None:
    (modules / "explosive.py").write_text("def build(): ...\nraise RuntimeError\n")
    assert problem("explosive:build") is None
    assert problem("explosive:biuld") == "'explosive' has no 'biuld'; did you mean 'build'?"
    assert "explosive" not in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        "def build(): ...",
        "class build: ...",
        "build = 1",
        "build: int = 1",
        "from os import getcwd as build",
        "import os as build",
        "from os import *",
        "def __getattr__(name): ...",
        "if True:\n    build = 1",
        "try:\n    build = 1\nexcept ValueError: ...",
    ],
)
def test_every_way_to_define_a_name_counts(modules: Path, text: str) -> None:
    (modules / "defining.py").write_text(text)
    assert problem("defining:build") is None


@pytest.mark.parametrize(
    "text",
    [
        "async def build(): ...",
        "build, other = 1, 2",
        "import build.other",
        "for build in range(3): ...",
        "with open('f') as build: ...",
        "from lazy import __getattr__",
        "__getattr__, __dir__, __all__ = attach()",
    ],
)
def test_every_rarer_way_to_define_a_name_counts(modules: Path, text: str) -> None:
    (modules / "defining.py").write_text(text)
    assert problem("defining:build") is None


def test_a_compiled_module_is_found_and_believed() -> None:
    assert problem("sklearn.tree._tree.Tree") is None
    assert problem("sklearn.tree._tree.Tre") is None  # only importing could tell
    assert problem("sklearn.tree._tre.Tree") is not None
    assert problem("itertools.count") is None


def test_a_folder_without_init_is_a_module_of_its_package(modules: Path) -> None:
    (modules / "shop" / "returns").mkdir(parents=True)
    (modules / "shop" / "__init__.py").touch()
    (modules / "shop" / "returns" / "features.py").write_text("def build(): ...")
    assert problem("shop.returns.features:build") is None
    assert problem("shop.returns.featrues:build") == (
        "'shop.returns' has no module 'featrues'; did you mean 'features'?"
    )


def test_a_top_package_without_init_is_found(modules: Path) -> None:
    (modules / "bare").mkdir()
    (modules / "bare" / "features.py").write_text("def build(): ...")
    assert problem("bare.features:build") is None


@pytest.mark.parametrize(
    "text", [b"\xef\xbb\xbfdef build(): ...", b"# coding: latin-1\nPLACE = 'Li\xe8ge'\ndef build(): ..."]
)
def test_a_module_is_read_in_the_encoding_it_declares(modules: Path, text: bytes) -> None:
    (modules / "encoded.py").write_bytes(text)
    assert problem("encoded:build") is None


def test_a_module_that_is_no_python_is_told_by_its_file(modules: Path) -> None:
    (modules / "broken.py").write_text("def build(:")
    with pytest.raises(SyntaxError, match=r"broken\.py, line 1"):
        problem("broken:build")

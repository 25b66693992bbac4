"""Where a use case goes: a person's own Dagster project or a new one, all of its files or none."""

from pathlib import Path

import pytest
import yaml

from ml_platform.errors import UserError
from ml_platform.onboarding.project_files import place_of, write

ROOT = Path(__file__).parents[2]
FILES = {"defs.yaml": "type: x\n", "features.py": "x = 1\n"}


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_becomes_a_project_with_all_it_needs(tmp_path: Path) -> None:
    folder = tmp_path / "My Shop"
    write(place_of(folder, "churn"), "churn", FILES)
    assert files_in(folder) == {
        *("pyproject.toml", "dagster.yaml", "workspace.yaml", ".gitignore"),
        *("my_shop/__init__.py", "my_shop/definitions.py", "my_shop/defs/ml_platform_resources.py"),
        *("my_shop/defs/churn/defs.yaml", "my_shop/defs/churn/features.py"),
    }


def test_the_instance_of_a_new_project_is_that_of_the_platform(tmp_path: Path) -> None:
    write(place_of(tmp_path / "shop", "churn"), "churn", FILES)
    ours, theirs = (yaml.safe_load((folder / "dagster.yaml").read_text()) for folder in (ROOT, tmp_path / "shop"))
    assert theirs == ours


@pytest.mark.parametrize("package", ["shop", "src/shop"])
def test_an_own_project_gets_the_resources_once(tmp_path: Path, package: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "shop"\n')
    (tmp_path / package / "defs").mkdir(parents=True)
    write(place_of(tmp_path, "churn"), "churn", FILES)
    assert f"{package}/defs/ml_platform_resources.py" in files_in(tmp_path)
    assert place_of(tmp_path, "returns").lacking == {}


def test_in_this_repository_the_resources_are_there() -> None:
    place = place_of(ROOT, "churn")
    assert (place.defs, dict(place.lacking)) == (ROOT / "ml_platform" / "defs", {})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("Churn!", "'Churn!' is no name of a use case"), ("churn", "churn is there already, and nothing is ever written")],
)
def test_a_name_that_is_none_or_taken_is_refused(tmp_path: Path, name: str, sentence: str) -> None:
    write(place_of(tmp_path / "shop", "churn"), "churn", FILES)
    with pytest.raises(UserError, match=sentence):
        place_of(tmp_path / "shop", name)


def test_a_project_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(UserError, match=r"has no \[tool.dg.project\]"):
        place_of(tmp_path, "churn")


def test_nothing_is_left_where_another_process_was_faster(tmp_path: Path) -> None:
    place = place_of(tmp_path / "shop", "churn")
    (place.defs / "churn").mkdir(parents=True)
    (place.defs / "churn" / "defs.yaml").write_text("theirs")
    with pytest.raises(UserError, match="cannot be written"):
        write(place, "churn", FILES)
    assert files_in(tmp_path) == {"shop/shop/defs/churn/defs.yaml"}
    assert (place.defs / "churn" / "defs.yaml").read_text() == "theirs"

"""Where a use case of a person's own goes: their Dagster project, or a new one."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from ml_platform.errors import UserError
from ml_platform.onboarding.templates import rendered

NAME = re.compile(r"[a-z][a-z0-9_]*")
RESOURCES = "ml_platform.defs.platform.resources"
RESOURCES_FILE = "ml_platform_resources.py"
TEMPLATES = {
    "pyproject.toml": "project_pyproject.toml.j2",
    "dagster.yaml": "project_dagster.yaml.j2",
    "workspace.yaml": "project_workspace.yaml.j2",
    ".gitignore": "project_gitignore.j2",
    "{package}/__init__.py": "project_init.py.j2",
    "{package}/definitions.py": "project_definitions.py.j2",
}


@dataclass(frozen=True)
class Place:
    """A project's folder, the folder of its definitions, and the files that it lacks, by their path in the folder."""

    folder: Path
    defs: Path
    lacking: Mapping[str, str]


def place_of(folder: Path, name: str) -> Place:
    """Where the use case `name` goes in the project of a folder; a folder without a project becomes one.

    Raises:
        UserError: the name is none, or it is taken.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"'{name}' is no name of a use case; write small letters, digits and _, such as 'churn'.")
    file = folder / "pyproject.toml"
    if file.exists():
        settings = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("dg", {}).get("project", {})
        if "root_module" not in settings:
            raise UserError(f"{file} has no [tool.dg.project] with a root_module; give another folder with --project.")
        package = settings["root_module"].replace(".", "/")
        lacking = {}
    else:
        package = re.sub(r"\W+", "_", folder.resolve().name.lower()).strip("_") or "my_project"
        package = f"project_{package}" if package[0].isdigit() or package == name else package
        values = {"package": package}
        lacking = {path.format(package=package): rendered(template, values) for path, template in TEMPLATES.items()}
    root = next((one for one in (folder / package, folder / "src" / package) if one.is_dir()), folder / package)
    defs = root / "defs"
    if (defs / name).exists():
        raise UserError(f"{defs / name} is there already, and nothing is ever written over; choose another name.")
    if not any(RESOURCES in one.read_text(encoding="utf-8") for one in root.rglob("*.py")) and package != "ml_platform":
        path = (defs / RESOURCES_FILE).relative_to(folder)
        lacking[str(path)] = rendered("project_resources.py.j2", {})
    return Place(folder, defs, lacking)


def write(place: Place, name: str, files: Mapping[str, str]) -> list[Path]:
    """Write a use case's files, and those that the project lacks; all of them or none.

    Raises:
        UserError: another process wrote one of them meanwhile, or the disk does not let it.
    """
    written: list[Path] = []
    made = [one for one in (place.folder, place.defs) if not one.exists()]
    try:
        place.defs.mkdir(parents=True, exist_ok=True)
        for path, content in place.lacking.items():
            file = place.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as stream:
                written.append(file)
                stream.write(content)
        staged = Path(mkdtemp(prefix=f".{name}_", dir=place.folder))
        try:
            staged.chmod(0o755)
            for path, content in files.items():
                (staged / path).write_text(content, encoding="utf-8")
            staged.rename(place.defs / name)
        finally:
            rmtree(staged, ignore_errors=True)
    except BaseException as error:
        for file in written:
            file.unlink(missing_ok=True)
        for folder in made[:1]:
            rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(f"{error.filename} cannot be written: {error.strerror}; nothing was.") from error
        raise
    return [*written, *(place.defs / name / path for path in files)]

"""Where a model is trained: recorded for people beside what it is made of, and no reason to train again."""

import platform
import subprocess
from collections.abc import Mapping
from functools import cache

COMMIT_TAG, PYTHON_TAG, PLATFORM_TAG = "git_commit", "python_version", "platform"
PATIENCE = 5  # seconds: without a commit a model is as good


def surroundings() -> dict[str, str]:
    """The interpreter, the platform, and the commit of the folder of now, by tag; no commit where there is no Git."""
    found = {PYTHON_TAG: platform.python_version(), PLATFORM_TAG: platform.platform()}
    commit = git_commit()
    return {**found, COMMIT_TAG: commit} if commit else found


@cache
def git_commit() -> str | None:
    """The commit of the folder of now, with ` and changes` where files that Git knows were changed; None without Git.

    It is asked once: a process trains with the code that it has imported.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit} and changes" if changes else commit


def environment(recorded: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    """The packages of a recipe, and beside them what a run or `surroundings` says of interpreter and platform."""
    said = {"python": tags.get(PYTHON_TAG), "platform": tags.get(PLATFORM_TAG)}
    return {**recorded, **{name: value for name, value in said.items() if value is not None}}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, check=True, timeout=PATIENCE)  # noqa: S603, S607
    return done.stdout.decode(errors="replace").strip()  # a file's name may be in any encoding

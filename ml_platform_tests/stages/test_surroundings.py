"""Where a model was trained is recorded with the commit of its code, where there is one."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from ml_platform.stages.surroundings import COMMIT_TAG, PLATFORM_TAG, PYTHON_TAG, git_commit, surroundings


@pytest.mark.skipif(shutil.which("git") is None, reason="Git is not installed")
def test_the_commit_is_recorded_and_whether_its_files_were_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)

    def looked() -> str | None:
        git_commit.cache_clear()
        return git_commit()

    assert looked() is None
    git("init")
    assert looked() is None  # nothing is committed
    (tmp_path / "features.py").write_text("one = 1\n")
    git("add", "features.py")
    git("commit", "--message", "one")
    (tmp_path / "notes.txt").write_text("not of the code")
    assert looked() == surroundings()[COMMIT_TAG] == git("rev-parse", "HEAD")
    odd = os.fsencode(tmp_path) + b"/\xff.py"
    Path(os.fsdecode(odd)).write_text("one = 1\n")
    git("config", "core.quotePath", "false")
    git("add", os.fsdecode(odd))
    assert looked() == f"{git('rev-parse', 'HEAD')} and changes"


def test_a_folder_that_is_no_more_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    git_commit.cache_clear()
    assert COMMIT_TAG not in surroundings()
    git_commit.cache_clear()


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    git_commit.cache_clear()
    assert surroundings() == {PYTHON_TAG: platform.python_version(), PLATFORM_TAG: platform.platform()}

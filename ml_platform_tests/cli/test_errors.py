"""What a command says where a file, a database or a store cannot be used, and what it leaves to its stack trace."""

import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer
from deltalake import DeltaTable
from mlflow.exceptions import MlflowException
from typer.testing import CliRunner

from ml_platform.cli import app
from ml_platform.cli.errors import told
from ml_platform.cli.project import Project
from ml_platform.resources.model_files import read_model
from ml_platform.resources.tracking import Tracking

DATABASES = "look at those of MLflow and Dagster, by default in .ml_platform, and at the disk, and run again."


def locked(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "d.db", isolation_level=None)) as other:
        other.execute("begin exclusive")
        engine = sa.create_engine(f"sqlite:///{folder / 'd.db'}", connect_args={"timeout": 0})
        with engine.connect() as database:
            database.execute(sa.text("create table t (x)"))


def full(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "d.db")) as database:
        database.execute("pragma max_page_count = 2")
        database.execute("create table t (x)")
        database.execute("insert into t values (zeroblob(100000))")


def corrupt(folder: Path) -> None:
    (folder / "d.db").write_bytes(b"no database " * 1000)
    with closing(sqlite3.connect(folder / "d.db")) as database:
        database.execute("select * from t")


def write_protected(folder: Path) -> None:
    with sa.create_engine(f"sqlite:///file:{folder / 'd.db'}?mode=ro&uri=true").connect():
        pass


def disk_is_full(_: Path) -> None:
    with Path("/dev/full").open("w") as file:
        file.write("x")


def not_a_folder(folder: Path) -> None:
    (folder / "file").touch()
    (folder / "file" / "below").write_text("x")


def no_table(folder: Path) -> None:
    DeltaTable(folder)


def no_artifact(folder: Path) -> None:
    tracking = Tracking(uri=f"sqlite:///{folder / 'mlflow.db'}", artifacts=str(folder / "artifacts"))
    tracking.read_json("0" * 32, "use_case.json")


def server_says_no(_: Path) -> None:
    raise MlflowException("API request to http://me:s3cret@mlflow:5000/api failed.\nlook into its log")


def no_model(folder: Path) -> None:
    read_model(folder)


def model_is_a_pickle(folder: Path) -> None:
    (folder / "MLmodel").write_text("metadata: {task: regression, run_id: a, threshold: null, params: {}, columns: []}")
    (folder / "model.skops").write_bytes(pickle.dumps({}))
    read_model(folder)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (locked, "a database cannot be used: (sqlite3.OperationalError) database is locked; look at what else uses it"),
        (full, "a database cannot be used: database or disk is full; look at the space on the disk and the memory"),
        (corrupt, f"a database cannot be used: file is not a database; {DATABASES}"),
        (write_protected, "(sqlite3.OperationalError) unable to open database file; look at those of MLflow and"),
        (disk_is_full, "a file cannot be used: [Errno 28] No space left on device; look at the space on the disk"),
        (not_a_folder, "/file/below'; look at the file, its rights and the disk, and run again."),
        (no_table, "a table of the lake cannot be used: "),
        (no_artifact, "look at its database or server, and at the run's artifacts, and run again."),
        (server_says_no, "MLflow cannot do it: API request to http://mlflow:5000/api failed; look at its database or"),
        (no_model, "a stored model cannot be read: it has no file MLmodel; look at the artifacts of its run in MLflow"),
        (model_is_a_pickle, "a stored model cannot be read: File is not a zip file; look at the artifacts of its run"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Path], None],
    sentence: str,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # so that what mlflow sets is undone
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(typer.Exit) as ended, told():
        fault(tmp_path)
    assert ended.value.exit_code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ml-platform: ")
    assert sentence in line
    assert line.endswith(", and run again.")


def closed_database(folder: Path) -> None:
    database = sqlite3.connect(folder / "d.db")
    database.close()
    database.execute("select 1")


def unknown_key(_: Path) -> None:
    {}["column"]


@pytest.mark.parametrize(("fault", "kind"), [(closed_database, sqlite3.ProgrammingError), (unknown_key, KeyError)])
def test_the_error_of_a_program_is_not_told(
    tmp_path: Path, fault: Callable[[Path], None], kind: type[Exception]
) -> None:
    with pytest.raises(kind), told():
        fault(tmp_path)


def test_no_library_is_imported_to_know_its_errors() -> None:
    program = "import sys; from ml_platform.cli import errors; print(sorted({*sys.modules} & {*sys.argv[1:]}))"
    heavy = ["dagster", "deltalake", "mlflow", "polars", "sqlalchemy"]
    done = subprocess.run([sys.executable, "-c", program, *heavy], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def assert_said(sentence: str, *arguments: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert sentence in line


def test_what_the_process_of_the_registry_meets_is_told_as_here(payments: Project) -> None:
    (payments.folder / ".ml_platform" / "mlflow.db").write_bytes(b"no database " * 1000)
    assert_said("(sqlite3.DatabaseError) file is not a database", "rollback", "payments", "--why", "so")


def test_a_folder_of_dagster_that_cannot_be_written_is_told(payments: Project) -> None:
    lock = payments.folder / ".ml_platform" / "dagster" / ".lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # root may write what is write-protected
    assert_said(f"a file cannot be used: [Errno 21] Is a directory: '{lock}'", "status")
    lock.rmdir()

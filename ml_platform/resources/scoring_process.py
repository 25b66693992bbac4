"""The process that reads stored models and scores rows as serving does: it knows nothing of the one that trained them.

It is this module, run as a program. Requests and answers are lines of JSON; the rows lie in files.
"""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from select import POLLIN, poll
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Self

import polars as pl

from ml_platform.ml.parity import RawRows, difference, told
from ml_platform.resources import own_process
from ml_platform.resources.model_files import read_model
from ml_platform.use_case import UseCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PATIENCE = 300.0  # seconds
ROWS, SCORES, VALIDATED = "rows.parquet", "scores.npy", "validated.parquet"
INPUT = "input-{}.parquet"
MOST_TOLD = 300


class ScoringProcess:
    """A fresh process that checks one stored model after another; it ends with the block, or with its parent.

    It has the environment, the folder and the import path of its parent, and is started for the first model, or ahead
    of it; one that died or gave no answer is started again for the next.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def check(
        self, folder: Path, rows: pl.DataFrame, scores: "NDArray[np.float64]", raw: RawRows | None = None
    ) -> str | None:
        """How the model in a folder differs from the trained one, which gave these rows these scores, or None."""
        import numpy as np

        with TemporaryDirectory() as handed_over:
            data = Path(handed_over)
            rows.write_parquet(data / ROWS)
            np.save(data / SCORES, scores)
            request: dict[str, Any] = {"folder": str(folder.absolute()), "data": handed_over}
            if raw is not None:
                raw.validated.write_parquet(data / VALIDATED)
                for name, table in raw.inputs.items():
                    table.write_parquet(data / INPUT.format(name))
                request["use_case"] = raw.use_case.model_dump(mode="json", exclude_unset=True)
            return self._answer(request)

    def _answer(self, request: Mapping[str, Any]) -> str | None:
        process = self.begin()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answers = poll()
            answers.register(process.stdout, POLLIN)
            if not answers.poll(self._patience * 1000):
                self._end()
                return (
                    f"the stored model gave no answer within {self._patience:g} s in a fresh process; "
                    f"make the transform or the estimator faster."
                )
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            return self._death(process)
        reason: str | None = json.loads(line)["reason"]
        return reason

    def begin(self) -> "subprocess.Popen[bytes]":
        """Start it, unless it runs: it gets ready while its parent does something else."""
        if self._process is not None:
            return self._process
        self._errors = TemporaryFile()  # noqa: SIM115 - open as long as the process
        # one thread is the fastest for few rows, and the parent trains on the other cores meanwhile
        self._process = program(self._errors, {"OMP_NUM_THREADS": "1", **own_process.environment()})
        return self._process

    def _death(self, process: "subprocess.Popen[bytes]") -> str:
        code = process.wait()
        self._errors.seek(0)
        last = (self._errors.read().decode(errors="replace").strip().splitlines() or ["it wrote nothing"])[-1]
        self._end()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with the exit code {code}"
        return (
            f"the fresh process that scores the stored model {how}, its last words: {last[-MOST_TOLD:].rstrip('.')}; "
            f"make sure that it has the memory, and run again."
        )

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._errors.close()
            self._process = None


def program(errors: IO[bytes], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """This module as a program, in an environment, whose last words go into a file."""
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
    )


def main() -> None:
    """What the program does."""
    with os.fdopen(os.dup(0)) as given, os.fdopen(os.dup(1), "w") as taken:
        # what a user's code prints must not be taken for an answer, nor its input for a request
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        _serve(given, taken)


def _serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more."""
    gc.disable()  # nothing of what imports make is garbage
    import pandas as pd  # noqa: F401 - like the next: while the parent trains
    import pyarrow as pa  # noqa: F401
    import skops.io  # noqa: F401

    gc.freeze()
    gc.enable()
    for line in requests:
        answers.write(json.dumps({"reason": _reason(json.loads(line))}) + "\n")
        answers.flush()


def _reason(request: Mapping[str, Any]) -> str | None:
    import numpy as np

    data = Path(request["data"])
    try:
        model = read_model(Path(request["folder"]))
    except Exception as error:  # whatever is wrong with the files of a model
        return f"the stored model cannot be read in a fresh process: {told(error)}; train it again, or choose another."
    raw = None
    if "use_case" in request:
        use_case = UseCase.model_validate(request["use_case"])
        inputs = {name: pl.read_parquet(data / INPUT.format(name)) for name in use_case.features.inputs}
        raw = RawRows(use_case, pl.read_parquet(data / VALIDATED), inputs)
    return difference(model, pl.read_parquet(data / ROWS), np.load(data / SCORES), raw)


if __name__ == "__main__":
    main()

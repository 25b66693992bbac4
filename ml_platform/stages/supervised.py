"""The process that computes a stage with limits: as the run sees it, which ends it when it takes too much, and inside.

A stage looks up and computes there, and hands over what it has computed; the run publishes and records it. So a call
that never returns, or takes all memory, costs a process and not the run.
"""

import os
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, Self

import dagster as dg

from ml_platform.blocks import write_duration, write_memory
from ml_platform.resources import own_process
from ml_platform.resources.scoring_process import ScoringProcess
from ml_platform.resources.tracking import RunContext
from ml_platform.stages.custom_checks import with_custom_checks
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition
from ml_platform.stages.failures import StageError, failure_class, told
from ml_platform.stages.usage import metered
from ml_platform.stages.work import RESOURCES, Work
from ml_platform.use_case import FailureClass, Limit, Stage, UseCase

LOOK = 0.1  # seconds between looks at the memory
NO_MEMORY = {signal.SIGKILL, signal.SIGABRT}  # by the kernel; by a library that cannot allocate


@contextmanager
def watched(work: Work, stage: StageDefinition) -> Iterator[StageDefinition]:
    """The stage with what it takes in its metadata, computed by a process of its own if the use case limits it."""
    limit = work.use_case.limits.get(stage.name)
    if limit is None or not limit.is_supervised:
        yield metered(stage)
    else:
        with StageProcess(work, stage.name, limit) as process:
            yield replace(stage, prepare=process.prepare)


class StageProcess:
    """A process that computes one stage; one that was ended is started again for the next partitions."""

    def __init__(self, work: Work, stage: Stage, limit: Limit) -> None:
        self._stage, self._limit = stage, limit
        self._seconds = limit.time.total_seconds() if limit.time else None
        self._setting = {
            "stage": stage,
            "use_case": work.use_case.model_dump(mode="json", exclude_unset=True),
            "resources": {name: _parts(getattr(work, name)) for name in RESOURCES},
            "instance": work.instance.get_ref(),
            "run_id": work.step.run.run_id,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection
        self._is_ready = False

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def prepare(self, _: Work, keys: Keys) -> Prepared:
        """Look up partitions there, as the stage does.

        Raises:
            StageError: it failed, or took too much.
        """
        (inputs,) = self._ask("prepare", keys)
        return Prepared(inputs, self._compute)

    def _compute(self, due: Keys) -> Iterator[Computed]:
        yield from self._ask("compute", due)

    def _ask(self, request: str, keys: Keys) -> Iterator[Any]:
        """What the process gives for a request, one thing after another."""
        if self._process is None:
            self._begin()
        if not self._is_ready:
            self._receive(None)  # its start does not count
            self._is_ready = True
        self._connection.send((request, list(keys)))
        until = None if self._seconds is None else monotonic() + self._seconds
        is_answered = False
        try:
            while (given := self._receive(until)) is not None:
                yield given
            is_answered = True
        finally:
            if not is_answered:  # what else it has to say would be taken for the next answer
                self._end()

    def _receive(self, until: float | None) -> Any:
        try:
            while not self._connection.poll(self._patience(until)):
                self._judge(until)
            kind, content = self._connection.recv()
        except (EOFError, ConnectionError):
            raise self._death() from None
        if kind == "failed":
            failed_as, sentence, trace = content
            error = StageError(sentence, failed_as)
            error.add_note(trace)
            raise error
        return content

    def _patience(self, until: float | None) -> float | None:
        """Seconds until the next look at the process, None if nothing is to be looked at."""
        left = None if until is None else max(0.0, until - monotonic())
        if self._limit.memory is None:
            return left
        return LOOK if left is None else min(LOOK, left)

    def _judge(self, until: float | None) -> None:
        """Raise StageError if the process has taken too much."""
        at = f"limits.{self._stage}"
        if until is not None and self._limit.time and monotonic() >= until:
            limit = write_duration(self._limit.time)
            raise StageError(f"took longer than its limit of {limit}; make it faster, or raise {at}.time.", "resources")
        if self._limit.memory is not None and (held := self._memory()) > self._limit.memory:
            limit = write_memory(self._limit.memory)
            raise StageError(
                f"took {held / 1e6:,.0f} MB of memory, more than its limit of {limit}; make it smaller, or raise "
                f"{at}.memory.",
                "resources",
            )

    def _memory(self) -> int:
        """The bytes that the process and its children hold."""
        import psutil

        assert self._process
        held = 0
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._process.pid)
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    held += one.memory_info().rss
        return held

    def _begin(self) -> None:
        self._process, self._connection = own_process.begin(__name__)
        self._is_ready = False
        self._connection.send(self._setting)

    def _death(self) -> StageError:
        """What to say of a process that is gone."""
        assert self._process
        code = self._process.wait()
        self._end()
        kind: FailureClass = "resources" if -code in NO_MEMORY else "code"
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with the exit code {code}"
        advice = "give it more memory" if kind == "resources" else "look at what it wrote in the run's log"
        return StageError(f"the process that computes it {how}; {advice}, and run again.", kind)

    def _end(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._connection.close()
            self._process = None


def _parts(value: Any) -> Any:
    """A resource as its class and fields: of a run's, nothing else can be handed over."""
    if not isinstance(value, dg.ConfigurableResource | dg.ConfigurableIOManager):
        return value
    return type(value), {name: _parts(getattr(value, name)) for name in type(value).model_fields}


def _made(parts: Any) -> Any:
    match parts:
        case (type() as kind, dict() as fields):
            return kind(**{name: _made(value) for name, value in fields.items()})
        case value:
            return value


def serve(run: Connection) -> None:
    """Look up and compute partitions for the run at the other end of a connection, until it has no more."""
    with run, ScoringProcess() as scoring, suppress(EOFError, ConnectionError):
        stage, work_of = _opened(scoring, **run.recv())
        prepared: Prepared | None = None
        while True:
            run.send(("given", None))
            request, keys = run.recv()
            try:
                if request == "prepare":
                    prepared = stage.prepare(work_of(), keys)
                    run.send(("given", prepared.inputs))
                else:
                    assert prepared
                    for computed in prepared.compute(keys):
                        run.send(("given", computed))
            except Exception as error:
                run.send(("failed", (failure_class(error), told(error), traceback.format_exc())))


def _opened(
    scoring: ScoringProcess, stage: Stage, use_case: Any, resources: Mapping[str, Any], instance: Any, run_id: str
) -> tuple[StageDefinition, Callable[[], Work]]:
    """The stage, and what it works with, which is looked up anew each time."""
    case, opened = UseCase.model_validate(use_case), dg.DagsterInstance.from_ref(instance)
    run = opened.get_run_by_id(run_id)
    assert run
    context = RunContext(opened, run, dg.get_dagster_logger())
    made = {name: _made(parts) for name, parts in resources.items()}
    definition: StageDefinition = import_module(f"ml_platform.stages.{stage}").build(case)
    return (
        metered(with_custom_checks(case, definition)),
        lambda: Work(case, **made, instance=opened, run_context=context, scoring=scoring),
    )

"""The trials of a search: which parameters to try next, by Optuna, and those already tried, kept in a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_platform.use_case import Range

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

Space = Mapping[str, list[Any] | Range]


@dataclass(frozen=True)
class Trial:
    """One set of parameters of the space, tried: its value, or why it has none; `seconds` is what it took."""

    number: int
    params: dict[str, Any]
    value: float | None
    seconds: float
    failure: str | None = None


class Trials:
    """The finished trials of one study, in a file that may hold others.

    A trial is written in one piece when it is finished, so one that was interrupted was never there.

    Raises:
        ValueError: Optuna is not installed, or a line of the file is damaged.
    """

    def __init__(self, file: Path, study: str, space: Space, *, greater_is_better: bool) -> None:
        try:
            import optuna
            from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
        except ImportError as error:
            raise ValueError("model.search needs optuna; install ml-platform[tuning].") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = JournalFileSymlinkLock(str(file))
        backend = JournalFileBackend(str(file), lock)
        lock.acquire()
        try:
            _drop_torn_line(file)
        finally:
            lock.release()
        self._space = {name: _distribution(values) for name, values in space.items()}
        self._direction = "maximize" if greater_is_better else "minimize"
        try:
            self._storage = optuna.storages.JournalStorage(backend)
            self._study: Study = optuna.create_study(
                study_name=study, storage=self._storage, direction=self._direction, load_if_exists=True
            )
        except ValueError as error:
            raise ValueError(
                f"{file} has a damaged line: {error}; restore the file, or remove it, and the search begins anew."
            ) from error

    def finished(self) -> list[Trial]:
        """The finished trials, the first one first."""
        return [
            Trial(
                one.number,
                {name: self._decoded(name, value) for name, value in one.params.items()},
                one.value,
                one.user_attrs["seconds"],
                one.user_attrs["failure"],
            )
            for one in self._study.get_trials()
        ]

    def suggested(self, seed: int) -> dict[str, Any]:
        """The parameters to try next: they depend on the finished trials and the seed alone."""
        import optuna

        # in memory: asking the stored study would leave a trial there that runs for ever if this process is killed
        study = optuna.create_study(direction=self._direction, sampler=optuna.samplers.TPESampler(seed=seed))
        study.add_trials(self._study.get_trials())
        asked = study.ask(self._space).params
        return {name: self._decoded(name, asked[name]) for name in self._space}

    def add(self, trial: Trial) -> None:
        """Store a finished trial."""
        from optuna.trial import TrialState, create_trial

        self._study.add_trial(
            create_trial(
                state=TrialState.FAIL if trial.value is None else TrialState.COMPLETE,
                value=trial.value,
                params={name: self._encoded(name, value) for name, value in trial.params.items()},
                distributions=self._space,
                user_attrs={"seconds": trial.seconds, "failure": trial.failure},
            )
        )

    def forget(self) -> None:
        """Remove the study with its trials."""
        import optuna

        optuna.delete_study(study_name=self._study.study_name, storage=self._storage)

    def _encoded(self, name: str, value: Any) -> Any:
        return json.dumps(value) if hasattr(self._space[name], "choices") else value

    def _decoded(self, name: str, value: Any) -> Any:
        return json.loads(value) if hasattr(self._space[name], "choices") else value


def _distribution(values: list[Any] | Range) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(values, Range):
        # as text: Optuna takes 1, 1.0 and true for the same choice, and an estimator does not
        return CategoricalDistribution([json.dumps(value) for value in values])
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _drop_torn_line(file: Path) -> None:
    """Cut off what stands after the last line break: a line that was being written when the machine stopped."""
    with file.open("rb+") as opened:
        text = opened.read()
        if not text.endswith(b"\n"):  # the next line would be joined to it, and the file could not be read any more
            opened.truncate(text.rfind(b"\n") + 1)

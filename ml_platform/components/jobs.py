"""The job on registered versions: what the commands promote, rollback, history, compare, trace and reproduce do."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from ml_platform.errors import UserError
from ml_platform.stages.work import RESOURCES, Work
from ml_platform.use_case import UseCase

if TYPE_CHECKING:
    from ml_platform.stages.book import Entry

Metadata = dict[str, Any]


class Promotion(dg.Config):
    """Which version becomes champion, and why."""

    version: int = Field(description="The version that shall be champion.")
    why: str = Field(description="Why, for the ledger.")
    until: str = Field(
        default="", description="The last day on which no other model takes its place by itself, such as 2018-05-31."
    )


class Rollback(dg.Config):
    """To which version the champion goes back, and why."""

    to: int = Field(default=0, description="The version; 0: the last champion that was not rolled back from.")
    why: str = Field(description="Why, for the ledger.")


class Moment(dg.Config):
    """Of which day it is asked."""

    as_of: str = Field(
        default="", description="Only who was champion at the end of this day, such as 2018-05-31; all moves without."
    )


class One(dg.Config):
    """Which version it is about."""

    version: int = Field(description="The version.")


class Two(dg.Config):
    """Which versions are compared."""

    left: int = Field(description="A version.")
    right: int = Field(description="The version to compare it with.")


def promote(work: Work, config: Promotion) -> Metadata:
    """Make a version champion.

    Raises:
        UserError: it cannot be, or `until` is no day.
    """
    from ml_platform.versions import moves

    until = moves.day(config.until, "until") if config.until else None
    return _answer(work, moves.promote(work, config.version, config.why, until))


def rollback(work: Work, config: Rollback) -> Metadata:
    """Make an earlier version champion again."""
    from ml_platform.versions import moves

    return _answer(work, moves.rollback(work, config.to or None, config.why))


def _answer(work: Work, entry: "Entry") -> Metadata:
    """What is told of a move that was made, noted as told."""
    from ml_platform.stages.ledger import answered

    answered(work, entry)
    return {"champion": entry.version, "before": entry.from_version or "none", "why": entry.why}


def history(work: Work, config: Moment) -> Metadata:
    """Show the ledger.

    Raises:
        UserError: `as_of` is no day.
    """
    from ml_platform.versions import moves

    as_of = moves.day(config.as_of, "as_of") if config.as_of else None
    return {"moves": [moves.shown(entry) for entry in moves.history(work, as_of)]}


def compare(work: Work, config: Two) -> Metadata:
    """Compare two versions; the page with both lies in the right one's run."""
    from ml_platform.versions.compare import compare as compared
    from ml_platform.versions.compare import page

    found = compared(work, work.version(config.left), work.version(config.right))
    differences = {name: [one.point, one.low, one.high] for name, one in found.differences.items()}
    try:
        file = f"compared_{config.left}_{config.right}.html"
        address = work.tracking.log_text(found.right.run_id, page(work, found), file)
    except UserError as error:
        address = str(error)
    return {"rows": found.rows, "differences": differences, "page": address}


def trace(work: Work, config: One) -> Metadata:
    """Show what a version was made of."""
    from ml_platform.versions.trace import trace as traced

    return dict(traced(work, work.version(config.version)))


def reproduce(work: Work, config: One) -> Metadata:
    """Train a version again.

    Raises:
        UserError: its predictions are not the same; the sentence says what differs.
    """
    from ml_platform.versions.reproduce import reproduce as again

    found = again(work, work.version(config.version))
    if not found.equal:
        raise UserError(f"version {config.version} is not reproduced: {'; '.join(found.differences)}.")
    return {"rows": found.rows, "predictions_hash": found.found}


ACTIONS: Mapping[str, tuple[type[dg.Config], Callable[[Work, Any], Metadata]]] = {
    "promote": (Promotion, promote),
    "rollback": (Rollback, rollback),
    "history": (Moment, history),
    "compare": (Two, compare),
    "trace": (One, trace),
    "reproduce": (One, reproduce),
}


def build_job(use_case: UseCase) -> dg.JobDefinition:
    """The job on registered versions of a use case; its configuration has exactly one of the actions.

    One job, and not one for each action: definitions of many use cases load as fast as they have few.
    """
    name = f"{use_case.name}__versions"

    fields = {action: one.to_config_schema().as_field() for action, (one, _) in ACTIONS.items()}

    @dg.op(
        name=f"{name}_step",
        config_schema=dg.Selector(fields),  # type: ignore[no-untyped-call]
        required_resource_keys=RESOURCES,
    )
    def step(context: dg.OpExecutionContext) -> None:
        ((action, values),) = context.op_config.items()
        stored = {key: getattr(context.resources, key) for key in RESOURCES}
        work = Work(use_case, **stored, instance=context.instance, context=context)
        config, act = ACTIONS[action]
        try:
            done = act(work, config(**values))
        except (UserError, LookupError, ValueError, ConnectionError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.add_output_metadata(done)

    description = (
        "Promote, roll back, compare, trace or reproduce registered versions, or show their history, as the commands "
        "of that name do."
    )
    return dg.GraphDefinition(name=name, node_defs=[step]).to_job(description=description)

"""A step: what passes is published and recorded partition by partition, what does not keeps the value it had."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG  # as stages/record.py does

from ml_platform.cli.execution import QUIET
from ml_platform.fingerprints import Recipe
from ml_platform.io_managers.models import ModelIOManager
from ml_platform.io_managers.publishing import Key
from ml_platform.io_managers.reports import ReportIOManager
from ml_platform.io_managers.tables import TableIOManager
from ml_platform.partitions import accepted_previews, data_partitions
from ml_platform.resources.lake import Lake, Table
from ml_platform.resources.tracking import Tracking
from ml_platform.stages.acceptance import Acceptance, accept
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, row_count
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.execution import FORCE_TAG, MADE_OF
from ml_platform.stages.recipes import load
from ml_platform.stages.step import build_step
from ml_platform.stages.work import Work
from ml_platform.use_case import Stage, UseCase
from ml_platform_tests.examples import use_case

FIRST, SECOND, THIRD, FOURTH = (f"2024-01-0{number}" for number in range(1, 5))
TODAY = datetime.now(UTC).date()


@dataclass
class Shelf:
    """What the stages of a test find and do: the amount of each partition, and what is against it."""

    amounts: dict[Key, float] = field(default_factory=lambda: dict.fromkeys([FIRST, SECOND, THIRD, FOURTH], 1.0))
    refused: dict[Key, str] = field(default_factory=dict)
    warned: dict[Key, str] = field(default_factory=dict)
    broken: set[Key] = field(default_factory=set)
    nothing_of: set[Key] = field(default_factory=set)
    strays: list[date | None] = field(default_factory=list)
    acceptable: bool = True
    computed: list[list[Key]] = field(default_factory=list)


def definition(
    case: UseCase, shelf: Shelf, word: Stage = "raw_data", *, deps: tuple[Stage, ...] = ()
) -> StageDefinition:
    """A stage with one row a partition, two partitions a chunk, a blocking check and one that warns."""

    def prepare(work: Work, keys: Keys) -> Prepared:
        upstream = {stage: work.data_versions(stage, keys) for stage in deps}

        def compute(due: Keys) -> Iterator[Computed]:
            shelf.computed.append(list(due))
            if broken := shelf.broken.intersection(due):
                raise ZeroDivisionError(f"of {min(map(str, broken))}")
            given = [key for key in due if key not in shelf.nothing_of]
            rows = pl.DataFrame({"amount": [shelf.amounts[key] for key in given] + [0.0] * len(shelf.strays)})
            if None not in due:
                days = [*(date.fromisoformat(str(key)) for key in given), *shelf.strays]
                rows = rows.with_columns(partition=pl.Series(days, dtype=pl.Date))
            verdicts = [
                *(Verdict("sound", key, shelf.refused.get(key), {"rows": 1}, True, shelf.acceptable) for key in due),
                *(Verdict("usual", key, shelf.warned.get(key), blocks=False, warning=True) for key in due),
            ]
            yield Computed(
                word, rows, {key: {"amount": shelf.amounts[key], **row_count(key, 1)} for key in given}, verdicts
            )

        inputs = {key: {stage: found[key] for stage, found in upstream.items()} for key in keys}
        return Prepared({key: {"amount": str(shelf.amounts[key]), **inputs[key]} for key in keys}, compute)

    return StageDefinition(
        assets={word: asset_spec(case, word, "A test's.", deps=[asset_key(case, one) for one in deps])},
        checks=[
            *check_specs(case, word, {"sound": "Nothing is against it."}),
            *check_specs(case, word, {"usual": "It is as usual."}, blocking=False),
        ],
        recipe=lambda: Recipe({}, {"stage": word}, {}),
        prepare=prepare,
        chunks=lambda _, keys: (keys[at : at + 2] for at in range(0, len(keys), 2)),
    )


@dataclass(frozen=True)
class Ran:
    """What a run has left in the event log."""

    success: bool
    events: list[dg.DagsterEvent]

    def recorded(self, stage: Stage = "raw_data") -> list[dg.AssetMaterialization]:
        """The materializations of a stage in their order."""
        found = [one.step_materialization_data.materialization for one in self.events if one.is_step_materialization]
        return [one for one in found if one.asset_key.path[-1] == stage]

    def partitions(self, stage: Stage = "raw_data") -> list[Key]:
        return [one.partition for one in self.recorded(stage)]

    def data_versions(self) -> dict[Key, str]:
        return {one.partition: (one.tags or {})[DATA_VERSION_TAG] for one in self.recorded()}

    def verdicts(self, check: str = "sound") -> dict[Key, dg.AssetCheckEvaluation]:
        """The evaluations of a check by partition; it has one for each."""
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        evaluated = [one.asset_check_evaluation_data for one in self.events if one.event_type == kind]
        found = [one for one in evaluated if one.check_name == check]
        by_partition = {one.partition: one for one in found}
        assert len(by_partition) == len(found)
        return by_partition

    @property
    def failure(self) -> dg.DagsterEvent:
        """The one step that failed."""
        (event,) = (one for one in self.events if one.is_step_failure)
        return event

    @property
    def refusal(self) -> str:
        """What a run says that refused something."""
        return str(self.failed.description)

    @property
    def failed(self) -> Any:
        assert not self.success
        found = self.failure.step_failure_data.user_failure_data
        assert found is not None, self.failure.step_failure_data.error
        return found


@dataclass
class Shop:
    """A use case of one step, the instance it runs in and where it stores."""

    case: UseCase
    instance: dg.DagsterInstance
    folder: Path
    shelf: Shelf = field(default_factory=Shelf)

    @property
    def lake(self) -> Lake:
        return Lake(root=str(self.folder / "lake"))

    @property
    def resources(self) -> dict[str, Any]:
        tracking = Tracking(uri=f"sqlite:///{self.folder}/mlflow.db", artifacts=str(self.folder / "artifacts"))
        return {
            "lake": self.lake,
            "tracking": tracking,
            "tables": TableIOManager(lake=self.lake),
            "models": ModelIOManager(tracking=tracking),
            "reports": ReportIOManager(lake=self.lake),
        }

    def table(self, stage: Stage = "raw_data") -> Table:
        return self.lake.table(self.key(stage))

    def key(self, stage: Stage = "raw_data") -> dg.AssetKey:
        return asset_key(self.case, stage)

    def step(self, *stages: StageDefinition) -> dg.AssetsDefinition:
        return build_step(self.case, "data", stages or [definition(self.case, self.shelf)])

    def run(
        self,
        first: str | None = FIRST,
        last: str | None = THIRD,
        *,
        assets: list[dg.AssetsDefinition] | None = None,
        selection: Any = None,
        force: bool = False,
    ) -> Ran:
        """One run over a range of partitions that does not raise."""
        tags = {FORCE_TAG: "true"} if force else {}
        if first is not None and last is not None:
            tags |= {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        result = dg.materialize(
            assets or [self.step()],
            instance=self.instance,
            resources=self.resources,
            tags=tags,
            selection=selection,
            run_config=QUIET,
            raise_on_error=False,
        )
        logged = self.instance.all_logs(result.run_id)
        return Ran(result.success, [entry.dagster_event for entry in logged if entry.dagster_event])

    def amounts(self, stage: Stage = "raw_data") -> dict[str, float]:
        rows = self.table(stage).scan().select(pl.col("partition").cast(pl.String), "amount").collect()
        return dict(rows.iter_rows())


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def shop(instance: dg.DagsterInstance, tmp_path: Path) -> Shop:
    return Shop(use_case(), instance, tmp_path)


def test_what_is_computed_is_written_and_recorded_with_the_same_data_version(shop: Shop) -> None:
    result = shop.run()
    assert result.success
    assert shop.amounts() == {FIRST: 1.0, SECOND: 1.0, THIRD: 1.0}
    assert result.partitions() == [FIRST, SECOND, THIRD]
    stored = TableIOManager(lake=shop.lake).data_versions(shop.key(), [FIRST, SECOND, THIRD])
    assert result.data_versions() == stored
    assert shop.instance.get_materialized_partitions(shop.key()) == {FIRST, SECOND, THIRD}


@pytest.mark.parametrize("refused", [[SECOND], [FIRST, FOURTH], [FIRST, SECOND, THIRD]])
def test_a_refused_partition_keeps_the_value_it_had_and_the_others_are_published(
    shop: Shop, refused: list[str]
) -> None:
    before = shop.run(FIRST, FOURTH)
    shop.shelf.amounts = dict.fromkeys(shop.shelf.amounts, 2.0)
    shop.shelf.refused = dict.fromkeys(refused, "too few rows.")
    result = shop.run(FIRST, FOURTH)
    passed = sorted({FIRST, SECOND, THIRD, FOURTH} - set(refused))
    assert not result.success
    assert result.partitions() == passed
    assert shop.amounts() == {**dict.fromkeys(refused, 1.0), **dict.fromkeys(passed, 2.0)}
    stored = TableIOManager(lake=shop.lake).data_versions(shop.key(), [FIRST, SECOND, THIRD, FOURTH])
    assert stored == {**before.data_versions(), **result.data_versions()}


def test_a_refused_partition_that_had_no_value_has_none(shop: Shop) -> None:
    shop.shelf.refused = {SECOND: "too few rows."}
    shop.run()
    assert shop.amounts() == {FIRST: 1.0, THIRD: 1.0}
    assert shop.instance.get_materialized_partitions(shop.key()) == {FIRST, THIRD}


def test_all_refused_writes_nothing(shop: Shop) -> None:
    shop.shelf.refused = dict.fromkeys([FIRST, SECOND], "no file.")
    result = shop.run(FIRST, SECOND)
    assert not shop.table().exists()
    assert result.partitions() == []


def test_a_single_refused_partition_fails_its_run(shop: Shop) -> None:
    shop.shelf.refused = {SECOND: "no file."}
    assert "raw_data 2024-01-02: no file." in shop.run(SECOND, SECOND).refusal


def test_the_failure_names_each_refused_partition_with_its_reason_once(shop: Shop) -> None:
    shop.shelf.refused = {FIRST: "too few rows.", SECOND: "no file.", FOURTH: "too few rows."}
    result = shop.run(FIRST, FOURTH)
    assert result.refusal == (
        "tiny refused what failed its checks and published the rest. "
        "raw_data 2024-01-01 .. 2024-01-04 (2): too few rows. raw_data 2024-01-02: no file."
    )
    assert result.failed.metadata["refused"].value == {"raw_data": shop.shelf.refused}


@pytest.mark.parametrize(("refused", "broken"), [({FIRST: "no file."}, set()), ({}, {FIRST})])
def test_neither_a_refusal_nor_a_mistake_in_the_code_is_tried_again(
    shop: Shop, refused: dict[Key, str], broken: set[Key]
) -> None:
    shop.shelf.refused, shop.shelf.broken = refused, broken
    retried = dg.define_asset_job("retried", op_retry_policy=dg.RetryPolicy(max_retries=2))
    definitions = dg.Definitions(assets=[shop.step()], resources=shop.resources, jobs=[retried])
    definitions.resolve_job_def("retried").execute_in_process(
        instance=shop.instance, partition_key=FIRST, run_config=QUIET, raise_on_error=False
    )
    assert shop.shelf.computed == [[FIRST]]


def test_an_exception_leaves_the_chunks_before_it_published_and_recorded(shop: Shop) -> None:
    shop.shelf.broken = {FOURTH}
    result = shop.run(FIRST, FOURTH)
    assert not result.success
    assert "ZeroDivisionError: of 2024-01-04" in str(result.failure.step_failure_data.error)
    assert result.partitions() == [FIRST, SECOND]
    assert list(result.verdicts()) == [FIRST, SECOND]
    assert shop.amounts() == {FIRST: 1.0, SECOND: 1.0}

    shop.shelf.broken = set()
    shop.shelf.computed.clear()
    assert shop.run(FIRST, FOURTH).success
    assert shop.shelf.computed == [[THIRD, FOURTH]]


def test_what_is_unchanged_is_recorded_and_not_computed_again(shop: Shop) -> None:
    first = shop.run()
    shop.shelf.amounts[SECOND] = 2.0
    shop.shelf.computed.clear()
    second = shop.run()
    assert second.success
    assert shop.shelf.computed == [[SECOND]]
    assert sorted(map(str, second.partitions())) == [FIRST, SECOND, THIRD]
    unchanged = {one.partition for one in second.recorded() if "unchanged" in one.metadata}
    assert unchanged == {FIRST, THIRD}
    before, after = first.data_versions(), second.data_versions()
    assert {key for key in after if after[key] == before[key]} == unchanged
    assert [one.metadata["amount"].value for one in second.recorded() if one.partition == FIRST] == [1.0]
    assert all(one.passed for one in second.verdicts().values())
    assert list(second.verdicts()[FIRST].metadata) == ["unchanged"]


def test_the_tag_computes_again_what_is_unchanged(shop: Shop) -> None:
    first = shop.run(FIRST, SECOND)
    second = shop.run(FIRST, SECOND, force=True)
    assert shop.shelf.computed == [[FIRST, SECOND]] * 2
    assert second.data_versions() == first.data_versions()
    assert not any("unchanged" in one.metadata for one in second.recorded())


def test_another_recipe_computes_all_again(shop: Shop) -> None:
    shop.run(FIRST, SECOND)
    stage = replace(definition(shop.case, shop.shelf), recipe=lambda: Recipe({}, {"stage": "another"}, {}))
    shop.run(FIRST, SECOND, assets=[shop.step(stage)])
    assert shop.shelf.computed == [[FIRST, SECOND]] * 2


def test_each_partition_is_recorded_once_a_run(shop: Shop) -> None:
    for _ in range(2):
        result = shop.run(FIRST, FOURTH)
        assert sorted(map(str, result.partitions())) == [FIRST, SECOND, THIRD, FOURTH]
    assert len(shop.instance.fetch_materializations(shop.key(), limit=100).records) == 8


def test_every_verdict_carries_its_partition(shop: Shop) -> None:
    shop.shelf.refused = {SECOND: "no file."}
    result = shop.run()
    assert set(result.verdicts()) == set(result.verdicts("usual")) == {FIRST, SECOND, THIRD}
    refused = result.verdicts()[SECOND]
    assert (refused.passed, refused.severity, refused.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    assert refused.description == "no file."
    assert refused.metadata["rows"].value == 1


def test_a_warning_annotates_and_publishes(shop: Shop) -> None:
    shop.shelf.warned = {SECOND: "fewer than usual."}
    for unchanged in (False, True):
        result = shop.run()
        assert result.success
        warned = result.verdicts("usual")[SECOND]
        assert (warned.passed, warned.severity, warned.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
        assert warned.description == "fewer than usual."
        assert ("unchanged" in warned.metadata) == unchanged
        assert result.verdicts("usual")[FIRST].passed
        failed = {
            one.partition: one.metadata["failed_checks"].value
            for one in result.recorded()
            if "failed_checks" in one.metadata
        }
        assert failed == {SECOND: {"usual": {"reason": "fewer than usual.", "warning": True}}}
    assert set(shop.amounts()) == {FIRST, SECOND, THIRD}


def test_what_another_instance_said_of_an_unchanged_partition_is_not_made_up(shop: Shop) -> None:
    shop.shelf.warned = {SECOND: "fewer than usual."}
    shop.run()
    with dg.DagsterInstance.ephemeral() as another:
        result = replace(shop, instance=another).run()
    assert result.success
    assert not any(one.passed for key, one in result.verdicts("usual").items() if key == SECOND)


def acceptance(key: Key = SECOND, days: int = 0) -> Acceptance:
    until = TODAY + timedelta(days=days)
    return Acceptance("raw_data", key, "a holiday", until, "ada", datetime.now(UTC).replace(tzinfo=None))


def test_an_accepted_partition_is_published_and_says_by_whom(shop: Shop) -> None:
    shop.shelf.refused = {SECOND: "too few rows.", THIRD: "too few rows."}
    shop.run()
    accept(shop.lake, "tiny", acceptance())
    result = shop.run()
    said = f"accepted by ada until {TODAY}: a holiday"
    assert result.refusal.endswith("raw_data 2024-01-03: too few rows.")
    assert set(shop.amounts()) == {FIRST, SECOND}
    (accepted,) = (one for one in result.recorded() if one.partition == SECOND)
    assert accepted.metadata["accepted"].value == said
    found = result.verdicts()[SECOND]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description == f"too few rows. ({said})"

    again = shop.run()
    (unchanged,) = (one for one in again.recorded() if one.partition == SECOND)
    assert unchanged.metadata["accepted"].value == said
    assert "unchanged" in unchanged.metadata
    assert again.verdicts()[SECOND].severity == dg.AssetCheckSeverity.WARN


def test_an_acceptance_that_is_over_counts_no_more(shop: Shop) -> None:
    shop.shelf.refused = {SECOND: "too few rows."}
    accept(shop.lake, "tiny", acceptance(days=-1))
    assert shop.run().refusal.endswith("raw_data 2024-01-02: too few rows.")


def test_what_was_published_by_an_acceptance_is_refused_when_it_is_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.shelf.refused = {SECOND: "too few rows."}
    accept(shop.lake, "tiny", acceptance())
    assert shop.run().success

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr("ml_platform.stages.work.datetime", Tomorrow)
    assert shop.run().refusal.endswith("raw_data 2024-01-02: too few rows.")
    assert set(shop.amounts()) == {FIRST, SECOND, THIRD}


def test_what_is_not_acceptable_is_refused_although_it_is_accepted(shop: Shop) -> None:
    shop.shelf.refused, shop.shelf.acceptable = {SECOND: "no file."}, False
    accept(shop.lake, "tiny", acceptance())
    assert shop.run().refusal.endswith("raw_data 2024-01-02: no file.")


def test_a_check_that_is_selected_alone_runs_its_stage(shop: Shop) -> None:
    shop.shelf.refused = {SECOND: "no file."}
    check = dg.AssetCheckKey(shop.key(), "sound")
    result = shop.run(selection=dg.AssetSelection.checks(check))
    assert not result.success
    assert result.verdicts()[SECOND].description == "no file."
    assert set(result.verdicts()) == {FIRST, SECOND, THIRD}


def after(shop: Shop, seen: list[Any]) -> dg.AssetsDefinition:
    """An asset of a user's own that reads what a stage published."""

    def compute(raw: pl.DataFrame) -> None:
        seen.append(raw)

    with accepted_previews():
        return dg.asset(
            name="after",
            ins={"raw": dg.AssetIn(shop.key(), input_manager_key="tables")},
            partitions_def=data_partitions(shop.case),
            backfill_policy=dg.BackfillPolicy.single_run() if shop.case.windows else None,
        )(compute)


def test_an_asset_of_ones_own_runs_after_a_step_that_passed(shop: Shop) -> None:
    seen: list[pl.DataFrame] = []
    for _ in range(2):
        assert shop.run(assets=[shop.step(), after(shop, seen)]).success
    assert [rows.sort("partition")["partition"].cast(pl.String).to_list() for rows in seen] == [
        [FIRST, SECOND, THIRD]
    ] * 2


def test_an_asset_of_ones_own_is_skipped_after_a_refusal(shop: Shop) -> None:
    seen: list[pl.DataFrame] = []
    shop.shelf.refused = {SECOND: "no file."}
    result = shop.run(assets=[shop.step(), after(shop, seen)])
    assert not result.success
    assert seen == []


def two_stages(shop: Shop, later: Shelf) -> dg.AssetsDefinition:
    return shop.step(
        definition(shop.case, shop.shelf), definition(shop.case, later, "validated_data", deps=("raw_data",))
    )


def test_a_later_stage_of_the_step_sees_what_an_earlier_one_published(shop: Shop) -> None:
    later = Shelf()
    assert shop.run(assets=[two_stages(shop, later)]).success
    shop.shelf.amounts[SECOND] = 2.0
    later.computed.clear()
    result = shop.run(assets=[two_stages(shop, later)])
    assert later.computed == [[SECOND]]
    assert sorted(map(str, result.partitions("validated_data"))) == [FIRST, SECOND, THIRD]


def test_both_stages_go_on_after_a_refusal_and_the_failure_has_the_reasons_of_both(shop: Shop) -> None:
    shop.shelf.refused, later = {FIRST: "no file."}, Shelf(refused={THIRD: "too few rows."})
    result = shop.run(assets=[two_stages(shop, later)])
    assert result.refusal.endswith("raw_data 2024-01-01: no file. validated_data 2024-01-03: too few rows.")
    assert set(shop.amounts("validated_data")) == {FIRST, SECOND}


def test_only_the_stages_that_are_selected_run(shop: Shop) -> None:
    later = Shelf()
    step = two_stages(shop, later)
    assert shop.run(assets=[step]).success
    shop.shelf.computed.clear()
    result = shop.run(assets=[step], selection=[shop.key("validated_data")], force=True)
    assert result.success
    assert shop.shelf.computed == []
    assert result.partitions() == []
    assert result.partitions("validated_data") == [FIRST, SECOND, THIRD]


def test_a_recorded_partition_shows_what_it_was_made_of_and_the_last_one_the_rows(shop: Shop) -> None:
    shop.shelf.amounts[SECOND] = 2.0
    first, second = shop.run(FIRST, SECOND).recorded()
    made_of = [one.metadata[MADE_OF].value for one in (first, second)]
    assert [one["inputs"] for one in made_of] == [{"amount": "1.0"}, {"amount": "2.0"}]
    assert load(shop.lake, made_of[0]["recipe"]).config == {"stage": "raw_data"}
    assert "preview" not in first.metadata
    assert second.metadata["table_version"].value == 0
    assert [column.name for column in second.metadata["dagster/column_schema"].value.columns] == [
        "amount",
        "partition",
    ]


@pytest.mark.parametrize("stray", [date(2024, 1, 9), None])
def test_rows_of_another_partition_are_refused_next_to_a_refused_partition_too(shop: Shop, stray: date | None) -> None:
    shop.shelf.refused, shop.shelf.strays = {SECOND: "no file."}, [stray]
    result = shop.run(FIRST, SECOND)
    assert "nothing was written" in str(result.failure.step_failure_data.error)
    assert not shop.table().exists()
    assert result.partitions() == []


def test_a_partition_without_metadata_is_not_published(shop: Shop) -> None:
    shop.shelf.nothing_of = {SECOND}
    result = shop.run()
    assert result.partitions() == [FIRST, THIRD]
    assert set(shop.amounts()) == {FIRST, THIRD}


def test_a_run_tells_how_far_it_is(shop: Shop) -> None:
    def told() -> list[str]:
        lines = [event.message or "" for event in shop.run().events if " of 3 partitions" in (event.message or "")]
        return [re.sub(r"\([\d,]+ a second\), |[\d.]+ s.*", "", line) for line in lines]

    shop.shelf.refused = {THIRD: "no file."}
    assert told() == [
        "raw_data: 2 of 3 partitions, 0 unchanged among the last 2, 0 refused, 2 rows published ",
        "raw_data: 3 of 3 partitions, 0 unchanged among the last 1, 1 refused, 2 rows published ",
    ]
    assert told() == [
        "raw_data: 2 of 3 partitions, 2 unchanged among the last 2, 0 refused, ",
        "raw_data: 3 of 3 partitions, 0 unchanged among the last 1, 1 refused, ",
    ]


def test_a_verdict_against_rows_shows_the_first_of_them(shop: Shop) -> None:
    shop.shelf.refused = {SECOND: "too few rows."}
    verdict = shop.run().verdicts()[SECOND]
    assert "2024-01-02" in str(verdict.metadata["sample"].value)


def test_without_partitions_the_whole_is_published_refused_and_left_alone(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    shop = Shop(use_case(partitions="none"), instance, tmp_path, Shelf({None: 1.0}))
    seen: list[pl.DataFrame] = []
    first = shop.run(None, None, assets=[shop.step(), after(shop, seen)])
    assert first.success
    assert shop.run(None, None).success
    assert (shop.shelf.computed, len(seen)) == ([[None]], 1)
    shop.shelf.amounts, shop.shelf.refused = {None: 2.0}, {None: "too few rows."}
    assert shop.run(None, None).refusal.endswith("raw_data: too few rows.")
    assert shop.table().scan().collect()["amount"].to_list() == [1.0]
    assert TableIOManager(lake=shop.lake).data_versions(shop.key(), [None]) == first.data_versions()
    accept(shop.lake, "tiny", acceptance(None))
    assert shop.run(None, None).success
    assert shop.table().scan().collect()["amount"].to_list() == [2.0]

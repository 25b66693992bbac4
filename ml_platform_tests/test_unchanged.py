"""Done twice is done once: what an edit, late data or an acceptance makes a run compute again, and what it skips."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from ml_platform.cli import app
from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.use_case import Stage
from ml_platform_tests.conftest import opened

DATA: tuple[Stage, ...] = ("raw_data", "quarantine", "validated_data", "features")
FIRST, LAST = "2018-04-01", "2018-04-06"


def run(project: Project, first: str = FIRST, last: str = LAST) -> Outcome:
    succeeded, outcome = run_use_case(project, "payments", first, last, stages=DATA, quiet=True)
    assert succeeded == (not any(check for check in outcome.checks if not check.passed)), outcome.errors
    return outcome


def computed(project: Project, outcome: Outcome, stage: Stage) -> set[str]:
    """The partitions of a stage that the runs of an outcome computed."""
    records = project.instance.fetch_materializations(dg.AssetKey(["payments", stage]), limit=1000).records
    return {
        str(one.partition_key)
        for one in records
        if one.run_id in outcome.runs
        and one.asset_materialization
        and "unchanged" not in one.asset_materialization.metadata
    }


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def features(payments: Project) -> Path:
    (place,) = payments.folder.glob("project_*/defs/payments/features.py")
    return place


def test_nothing_is_computed_twice(payments: Project) -> None:
    run(payments)
    versions = {stage: run_versions(payments, stage) for stage in DATA}
    again = run(payments)
    for stage in DATA:
        assert computed(payments, again, stage) == set()
        assert again.stages[stage].unchanged == again.stages[stage].partitions == 6
        assert run_versions(payments, stage) == versions[stage]
    assert "It was skipped on" in said("why", "payments/features", "2018-04-03")
    assert "It is up to date: a run would skip it." in said("why", "payments/features", "2018-04-03")


def run_versions(project: Project, stage: Stage) -> dict[str, str]:
    records = project.instance.fetch_materializations(dg.AssetKey(["payments", stage]), limit=6).records
    tags = {str(one.partition_key): one.asset_materialization.tags for one in records if one.asset_materialization}
    return {key: (of or {})["dagster/data_version"] for key, of in tags.items()}


@pytest.mark.parametrize(
    ("edit", "again"),
    [
        (lambda text: text.replace("def build", "# a comment\n\n\ndef build"), False),
        (lambda text: text + "\n\ndef unrelated() -> int:\n    return 1\n", False),
        (lambda text: text.replace("days=1)", "days=2)"), True),
        (lambda text: text.replace("    risk =", "    rows = tidy(rows)\n    risk =") + HELPER, True),
    ],
    ids=["a comment", "an unrelated function", "the function", "a helper"],
)
def test_an_edit_of_the_code_counts_where_it_is_reached(
    payments: Project, features: Path, edit: Callable[[str], str], again: bool
) -> None:
    run(payments)
    features.write_text(edit(features.read_text()))
    sentence = said("why", "payments/features", "2018-04-03")
    outcome = run(payments)
    assert computed(payments, outcome, "features") == (set(days(1, 6)) if again else set())
    assert computed(payments, outcome, "validated_data") == set()
    assert ("A run would compute it: code changed: " in sentence) == again


HELPER = "\n\ndef tidy(rows: pl.DataFrame) -> pl.DataFrame:\n    return rows\n"


def days(first: int, last: int) -> list[str]:
    return [f"2018-04-{day:02}" for day in range(first, last + 1)]


def test_a_function_as_source_is_asked_again_and_its_rows_told_apart_by_what_is_in_them(
    payments: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package,) = payments.folder.glob("project_*")
    definition = package / "defs" / "payments" / "defs.yaml"
    source = "source: {type: python, function: .source:read}"
    text = definition.read_text()
    definition.write_text(text.replace(text[text.index("source:") : text.index("\n", text.index("source:"))], source))
    (package / "defs" / "payments" / "source.py").write_text(SOURCE)
    project = next(opened(payments.folder, monkeypatch))
    assert computed(project, run(project), "features") == set(days(1, 6))
    assert computed(project, run(project), "features") == set()
    monkeypatch.setenv("AMOUNT", "2")
    # only what the function gives has changed, for the days from the third on
    assert computed(project, run(project), "raw_data") == set(days(3, 6))


SOURCE = """
import os
from datetime import datetime

import polars as pl


def read(start: datetime, end: datetime) -> pl.DataFrame:
    at = pl.datetime_range(start, end, "1h", closed="left", eager=True)
    amount = float(os.environ.get("AMOUNT", "1"))
    rows = pl.DataFrame({"TX_DATETIME": at}).with_row_index("TRANSACTION_ID").with_columns(
        pl.lit(1).alias("CUSTOMER_ID"), pl.lit(1).alias("TERMINAL_ID"), pl.lit(0).alias("TX_FRAUD"),
        pl.when(pl.col("TX_DATETIME") < datetime(2018, 4, 3)).then(1.0).otherwise(amount).alias("TX_AMOUNT"),
    )
    return rows
"""


def test_corrected_data_is_computed_again_with_all_that_looks_back_at_it(payments: Project) -> None:
    run(payments)
    file = payments.folder / "data" / "2018-04-03.parquet"
    pl.read_parquet(file).head(200).write_parquet(file)

    assert "data changed" not in said("why", "payments/features", "2018-04-05")
    outcome = run(payments, "2018-04-03", "2018-04-03")

    assert computed(payments, outcome, "raw_data") == {"2018-04-03"}
    assert computed(payments, outcome, "validated_data") == {"2018-04-03"}
    # the lookback is two days; the day after it was never asked for
    assert computed(payments, outcome, "features") == {"2018-04-03", "2018-04-04", "2018-04-05"}
    assert "because data changed: validated_data" in said("why", "payments/features", "2018-04-05")


def test_late_data_is_all_that_a_run_over_everything_computes(payments: Project) -> None:
    late = payments.folder / "data" / "2018-04-06.parquet"
    late.rename(late.with_suffix(".late"))
    run(payments)
    late.with_suffix(".late").rename(late)
    outcome = run(payments)
    assert [computed(payments, outcome, stage) for stage in DATA] == [{"2018-04-06"}] * 4


def test_what_a_check_refuses_is_published_when_a_person_accepts_it_and_as_long(payments: Project) -> None:
    file = payments.folder / "data" / "2018-04-02.parquet"
    dirty = pl.when(pl.int_range(pl.len()) % 3 == 0).then(-1.0).otherwise("TX_AMOUNT").alias("TX_AMOUNT")
    pl.read_parquet(file).with_columns(dirty).write_parquet(file)
    run(payments, "2018-04-01", "2018-04-02")
    assert "refused on" in said("why", "payments/validated_data", "2018-04-02")

    today = datetime.now(UTC).date()
    until = today + timedelta(days=1)
    accepted = said("accept", "payments/validated_data", "2018-04-02", "--why", "refunds", "--until", f"{until}")
    assert f"until {until}: refunds" in accepted
    succeeded, _ = run_use_case(payments, "payments", "2018-04-01", "2018-04-02", stages=DATA, quiet=True)

    assert succeeded
    assert "refused" not in said("why", "payments/validated_data", "2018-04-02")
    (record,) = payments.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(["payments", "validated_data"]), asset_partitions=["2018-04-02"]), limit=5
    ).records
    assert record.asset_materialization
    assert "refunds" in str(record.asset_materialization.metadata["accepted"].value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["accept", "payments/features", "2018-04-02"], 'say why it may be published: --why "...".'),
        (["accept", "payments/features", "2018-04-02", "--why", "x"], "say until when this holds: --until 2018-05-31."),
        (["accept", "payments/features", "2018-04-02", "--why", "x", "--until", "2018-05-31"], "2018-05-31 is over"),
        (["accept", "payments/features", "--why", "x", "--until", "2099-01-01"], "say which partition is accepted."),
        (["why", "payments/feature"], "there is no stage 'feature'; did you mean 'features'?"),
        (["why", "payments/features", "2018-4-2"], "2018-4-2 is no partition of payments/features"),
    ],
)
def test_a_mistake_is_one_sentence(payments: Project, arguments: list[str], sentence: str) -> None:
    assert payments.use_cases() == ["payments"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())

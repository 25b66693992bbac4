"""The yardstick: the work of the shipped use case from files to features as a script in polars, without a platform."""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import polars as pl
from deltalake import DeltaTable, write_deltalake

from ml_platform.defs.card_fraud.features import build

if TYPE_CHECKING:
    import pandas as pd

    from ml_platform.ml.training import TrainedModel
    from ml_platform.use_case import UseCase

TYPES = {
    "TRANSACTION_ID": pl.Int64(),
    "TX_DATETIME": pl.Datetime("us"),
    "CUSTOMER_ID": pl.Int64(),
    "TERMINAL_ID": pl.Int64(),
    "TX_AMOUNT": pl.Float64(),
    "TX_FRAUD": pl.Int64(),
}
KEY, TIME = "TRANSACTION_ID", "TX_DATETIME"
REGISTERED = "card_fraud"
LARGEST_AMOUNT, QUARANTINE_AT_MOST, LOOKBACK_DAYS = 10_000, 0.02, 37
DAY = timedelta(days=1)


class Clock:
    """The seconds that the steps of the script take, by their names."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time until the end of the block to a step."""
        begin = perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - begin


def days_between(first: date, last: date) -> list[date]:
    """The days from the first to the last."""
    return [first + DAY * number for number in range((last - first).days + 1)]


def read(data: Path, days: Sequence[date]) -> pl.DataFrame:
    """The rows of the files of some days, each with the day of its file in `partition`."""
    frames = []
    for day in days:
        rows = pl.read_parquet(data / f"{day}.parquet", columns=list(TYPES))
        if rows.is_empty():
            raise SystemExit(f"{day} has no rows.")
        frames.append(rows.with_columns(partition=pl.lit(day)))
    return pl.concat(frames)


def coerce(given: pl.DataFrame) -> pl.DataFrame:
    """The rows in the declared types; in `rescued`, as JSON, the values that did not fit."""
    rows = given.with_columns(pl.col("TX_AMOUNT").fill_nan(None))
    typed = {name: pl.col(name).cast(dtype, strict=False) for name, dtype in TYPES.items()}
    lost = [
        pl.when(pl.col(name).is_not_null() & value.is_null()).then(pl.col(name).cast(pl.String)).alias(name)
        for name, value in typed.items()
        if rows.schema[name] != TYPES[name]
    ]
    rescued = (
        pl.when(pl.any_horizontal(one.is_not_null() for one in lost)).then(pl.struct(lost).struct.json_encode())
        if lost
        else pl.lit(None, pl.String)
    )
    return rows.select(*typed.values(), rescued.alias("rescued"), "partition")


def broken_rules() -> dict[tuple[str, str], pl.Expr]:
    """What breaks the contract, by column and rule."""
    rescued = {name: pl.col("rescued").str.json_path_match(f"$.{name}").is_not_null() for name in TYPES}
    missing = {name: pl.col(name).is_null() & ~rescued[name] for name in TYPES}
    amount = pl.col("TX_AMOUNT")
    return {
        (KEY, "type"): rescued[KEY],
        (KEY, "nullable"): missing[KEY],
        (TIME, "type"): rescued[TIME],
        (TIME, "nullable"): missing[TIME],
        ("CUSTOMER_ID", "type"): rescued["CUSTOMER_ID"],
        ("CUSTOMER_ID", "nullable"): missing["CUSTOMER_ID"],
        ("TERMINAL_ID", "type"): rescued["TERMINAL_ID"],
        ("TERMINAL_ID", "nullable"): missing["TERMINAL_ID"],
        ("TX_AMOUNT", "type"): rescued["TX_AMOUNT"],
        ("TX_AMOUNT", "nullable"): missing["TX_AMOUNT"],
        ("TX_AMOUNT", "finite"): amount.is_infinite(),
        ("TX_AMOUNT", "min"): amount < 0,
        ("TX_AMOUNT", "max"): amount > LARGEST_AMOUNT,
        ("TX_FRAUD", "type"): rescued["TX_FRAUD"],
        ("TX_FRAUD", "one_of"): ~pl.col("TX_FRAUD").is_in([0, 1]),
        (TIME, "partition"): pl.col(TIME).dt.date() != pl.col("partition"),
        (KEY, "unique"): ~pl.struct(KEY, "partition").is_first_distinct() & pl.col(KEY).is_not_null(),
    }


def split(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The valid rows, and the others with the list of their violations."""
    rules = broken_rules()
    broken = rows.select(
        rule.fill_null(value=False).alias(f"broken_{index}") for index, rule in enumerate(rules.values())
    )
    bad = broken.select(pl.any_horizontal(pl.all())).to_series()
    violations = pl.concat_list(
        pl.when(pl.col(f"broken_{index}")).then(
            pl.struct(
                column=pl.lit(column),
                rule=pl.lit(rule),
                value=pl.coalesce(pl.col("rescued").str.json_path_match(f"$.{column}"), pl.col(column).cast(pl.String)),
            )
        )
        for index, (column, rule) in enumerate(rules)
    ).list.drop_nulls()
    quarantined = rows.filter(bad).hstack(broken.filter(bad)).select(*rows.columns, violations=violations)
    return rows.filter(~bad).drop("rescued"), quarantined


def check_quarantine(rows: pl.DataFrame, quarantined: pl.DataFrame) -> None:
    """Stop where too many of a day's rows break the contract."""
    counts = (
        rows.group_by("partition").len().join(quarantined.group_by("partition").len(), on="partition", suffix="_bad")
    )
    refused = counts.filter(pl.col("len_bad") > QUARANTINE_AT_MOST * pl.col("len"))
    if refused.height:
        raise SystemExit(f"too many rows break the contract on {refused['partition'].min()}.")


def write(lake: Path, name: str, rows: pl.DataFrame, days: Sequence[date]) -> None:
    """Replace the days of a table in one commit."""
    there = DeltaTable.is_deltatable(str(lake / name))
    write_deltalake(
        str(lake / name),
        rows,
        mode="overwrite",
        partition_by=["partition"],
        predicate=f"partition BETWEEN '{days[0]}' AND '{days[-1]}'" if there else None,
    )


def features_of(lake: Path, validated: pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """The features of the days' rows, with as many days before them in view as the windows reach back."""
    before = days_between(days[0] - LOOKBACK_DAYS * DAY, days[0] - DAY)
    earlier = (
        pl.scan_delta(str(lake / "validated_data"))
        .filter(pl.col("partition").is_between(before[0], before[-1]))
        .select(validated.columns)
        .collect()
    )
    rows = pl.concat([earlier, validated])
    made = build(rows.drop("partition")).with_columns(partition=pl.col(TIME).dt.date())
    made = made.filter(pl.col("partition").is_between(days[0], days[-1]))
    if made.height != validated.height:
        raise SystemExit(f"{made.height} rows of features for {validated.height} valid rows.")
    return made


def described(lake: Path, use_case: "UseCase", rows: pl.DataFrame) -> pl.DataFrame:
    """The entity of rows of features and the columns that cut them into slices, from the validated rows if need be."""
    names = list(dict.fromkeys([*filter(None, [use_case.contract.entity]), *use_case.evaluation.slices]))
    elsewhere = [name for name in names if name not in rows.columns]
    validated = pl.scan_delta(str(lake / "validated_data")).select(KEY, TIME, *elsewhere)
    return rows.lazy().join(validated, on=[KEY, TIME], how="left", maintain_order="left").select(names).collect()


def champion(
    lake: Path, use_case_file: Path, cutoff: date, days: Sequence[date], *, in_mlflow: bool
) -> dict[str, float]:
    """Train, evaluate and judge the model of a cutoff, store it with its report, and predict all days.

    The arithmetic is the platform's own, called as a library; what is compared is everything around it. Gives the
    metrics on the hold-out.
    """
    import joblib
    import yaml

    from ml_platform.ml.evaluation import evaluate
    from ml_platform.ml.gates import judge
    from ml_platform.ml.preprocessing import matrix
    from ml_platform.ml.splits import windows_before
    from ml_platform.ml.thresholds import threshold_of
    from ml_platform.ml.training import TrainedModel, feature_columns, fit
    from ml_platform.use_case import UseCase

    use_case = UseCase.model_validate(yaml.safe_load(use_case_file.read_text(encoding="utf-8"))["attributes"])
    windows = windows_before(datetime.combine(cutoff, time()), use_case.model, use_case.label)
    features = pl.scan_delta(str(lake / "features"))
    train, hold_out = (
        features.filter(window.select(TIME), pl.col("TX_FRAUD").is_not_null()).sort(TIME, KEY).collect()
        for window in (windows.train, windows.hold_out)
    )
    columns = feature_columns(use_case, train.columns)
    estimator, params = use_case.estimator, use_case.params
    threshold = threshold_of(use_case, train, estimator, params)
    pipeline = fit(use_case, train, estimator, params)
    model = TrainedModel(pipeline, use_case.task, columns, "bare", threshold, params)
    words = str(windows.train), str(windows.hold_out)
    report = evaluate(use_case, model, train, hold_out, described(lake, use_case, hold_out), None, words)
    for gate in use_case.gates:
        if reason := judge(use_case, gate, report, None):
            raise SystemExit(reason)
    metrics = {name: interval.point for name, interval in report.metrics.items()}
    folder = lake / "model"
    folder.mkdir(exist_ok=True)
    for name, picture in report.figures.items():
        (folder / f"{name}.png").write_bytes(picture)
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    if in_mlflow:
        register(lake, model, matrix(train.head(5), columns), metrics)
    else:
        joblib.dump(model.pipeline, folder / "pipeline.joblib")
    rows = features.filter(pl.col("partition").is_between(days[0], days[-1])).collect()
    predictions = rows.select(KEY, TIME, "partition").with_columns(pl.Series("prediction", model.predict(rows)))
    write(lake, "predictions", predictions, days)
    return metrics


def register(lake: Path, model: "TrainedModel", example: "pd.DataFrame", metrics: dict[str, float]) -> None:
    """Log a model to MLflow with parameters, metrics, and the files of its folder; register it as champion."""
    import mlflow
    from mlflow.models import infer_signature

    from ml_platform.resources.trusted_types import TRUSTED_TYPES

    mlflow.set_tracking_uri(f"sqlite:///{lake}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment(REGISTERED, str(lake / "artifacts")))
    with mlflow.start_run():
        mlflow.log_params(dict(model.params))
        mlflow.log_metrics(metrics)
        mlflow.log_artifacts(str(lake / "model"), "evaluation")
        stored = mlflow.sklearn.log_model(
            model.pipeline,
            name="model",
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            signature=infer_signature(example, model.pipeline.predict_proba(example)),
            input_example=example,
            pip_requirements=["scikit-learn"],  # else MLflow would load the model once more to find them
            registered_model_name=REGISTERED,
        )
    mlflow.MlflowClient().set_registered_model_alias(REGISTERED, "champion", stored.registered_model_version)


def run(data: Path, lake: Path, days: Sequence[date]) -> dict[str, float]:
    """From files to features; the seconds that each step took."""
    clock = Clock()
    with clock.step("read"):
        given = read(data, days)
    with clock.step("coerce"):
        raw = coerce(given)
    del given
    with clock.step("write raw_data"):
        write(lake, "raw_data", raw, days)
    with clock.step("validate"):
        validated, quarantined = split(raw)
        check_quarantine(raw, quarantined)
    del raw
    with clock.step("write quarantine"):
        write(lake, "quarantine", quarantined, days)
    with clock.step("write validated_data"):
        write(lake, "validated_data", validated, days)
    with clock.step("features"):
        features = features_of(lake, validated, days)
    del validated
    with clock.step("write features"):
        write(lake, "features", features, days)
    return clock.seconds


def main() -> None:
    """Run the script from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with a Parquet file for each day")
    parser.add_argument("--lake", type=Path, required=True, help="the folder of the Delta tables")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True, help="the first day")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, required=True, help="the last day")
    parser.add_argument("--use-case", type=Path, help="the use case's YAML file, to go on to a champion")
    parser.add_argument("--cutoff", type=date.fromisoformat, help="the cutoff of its model")
    parser.add_argument("--mlflow", action="store_true", help="put the model into MLflow instead of a file")
    arguments = parser.parse_args()
    days = days_between(arguments.first, arguments.last)
    seconds, metrics = run(arguments.data, arguments.lake, days), {}
    if arguments.cutoff:
        begin = perf_counter()
        metrics = champion(
            arguments.lake.absolute(), arguments.use_case, arguments.cutoff, days, in_mlflow=arguments.mlflow
        )
        seconds["model, evaluation, gates, predictions"] = perf_counter() - begin
    print(json.dumps({"seconds": seconds, "metrics": metrics}))


if __name__ == "__main__":
    main()

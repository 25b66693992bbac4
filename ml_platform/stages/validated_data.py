"""The stage `validated_data`: rows that keep the contract; the others go to `quarantine` with what they broke."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ml_platform.fingerprints import recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.io_managers.tables import column_schema
from ml_platform.ml.checks import duplicates_problem, volume_problem
from ml_platform.ml.contract import PARTITION, RESCUED, VIOLATIONS, split
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, row_count
from ml_platform.stages.chunks import of
from ml_platform.stages.definition import EXAMPLES, FOLLOWS, Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.raw_data import raw_columns
from ml_platform.stages.record import newest_before, newest_materializations, told
from ml_platform.stages.work import Work
from ml_platform.use_case import Contract, UseCase

VIOLATION = pl.List(pl.Struct({"column": pl.String(), "rule": pl.String(), "value": pl.String()}))
WORST_RULES = 5
SHOWN = 3
LONGEST = 40
"""Characters of a value that are shown as an example."""


def build(use_case: UseCase) -> StageDefinition:
    """The stage `validated_data` of a use case, with `quarantine`; every raw row is in exactly one of the two."""
    columns, contract = raw_columns(use_case), use_case.contract
    valid = asset_spec(
        use_case,
        "validated_data",
        "The rows that keep the contract, in the declared types.",
        deps=[asset_key(use_case, "raw_data")],
        kinds={"polars", "deltalake"},
        metadata={
            "dagster/column_schema": column_schema({name: kind for name, kind in columns.items() if name != RESCUED})
        },
    )
    quarantine = asset_spec(
        use_case,
        "quarantine",
        "The rows that break the contract, each with its violations: column, rule and value.",
        deps=[asset_key(use_case, "raw_data")],
        kinds={"polars", "deltalake"},
        metadata={"dagster/column_schema": column_schema({**columns, VIOLATIONS: VIOLATION})},
    )
    return StageDefinition(
        # quarantine first: why a partition was refused must be there to look at
        assets={"quarantine": quarantine, "validated_data": valid},
        checks=check_specs(use_case, "validated_data", _checks(contract)),
        recipe=lambda: recipe(
            ["ml_platform.ml.contract:split"], {"contract": contract.model_dump(mode="json")}, ["polars"]
        ),
        prepare=prepare,
        chunks=of("raw_data"),
    )


def _checks(contract: Contract) -> dict[str, str]:
    """The checks on validated data by name, each with what it asks for."""
    checks = {"contract": f"At most {contract.quarantine_at_most:.2%} of the partition's rows break the contract."}
    if contract.volume is not None:
        bounds = ", ".join(f"{name} {bound:g}" for name, bound in contract.volume.model_dump(exclude_none=True).items())
        checks["volume"] = f"The number of rows that keep the contract is in bounds: {bounds}."
    if contract.duplicates_at_most is not None:
        checks["duplicates"] = f"At most {contract.duplicates_at_most:.2%} of the partition's rows repeat a key."
    return checks


def prepare(work: Work, keys: Keys) -> Prepared:
    """Look up the raw data of partitions."""
    versions = work.data_versions("raw_data", keys)
    contract, windows = work.use_case.contract, work.use_case.windows

    def compute(due: Keys) -> Iterator[Computed]:
        given = [key for key in due if versions[key]]
        raw = work.read("raw_data", given) if given else pl.DataFrame(schema=raw_columns(work.use_case))
        kept, quarantined = split(raw, contract, windows.every if windows else None)
        rows, bad, broken = rows_by_partition(raw), rows_by_partition(quarantined), broken_rules(quarantined)
        examples = example_values(quarantined)
        yield Computed(
            "quarantine",
            quarantined,
            {
                key: {
                    **row_count(key, bad.get(key, 0)),
                    "broken_rules": broken.get(key, {}),
                    "examples": examples.get(key, {}),
                }
                for key in given
            },
        )
        counts = {
            key: Counts(rows.get(key, 0), bad.get(key, 0), broken.get(key, {}), examples.get(key, {})) for key in due
        }
        usual = _kept_so_far(work) | {str(key): one.kept for key, one in counts.items()} if contract.volume else {}
        yield Computed(
            "validated_data",
            kept,
            {key: {**row_count(key, one.kept), "quarantined": one.bad} for key, one in counts.items()},
            list(_verdicts(work, counts, usual)),
        )

    return Prepared({key: {"raw_data": version} for key, version in versions.items()}, compute)


@dataclass(frozen=True)
class Counts:
    """How many raw rows a partition has, how many of them are quarantined, and which rules were broken how often.

    Each of the rules has some of the values that broke it.
    """

    rows: int
    bad: int
    broken: Mapping[str, int]
    examples: Mapping[str, Sequence[str]]

    @property
    def kept(self) -> int:
        """The number of rows that keep the contract."""
        return self.rows - self.bad


def _kept_so_far(work: Work) -> dict[str, int]:
    """The number of rows in each published partition, by its key."""
    table = work.lake.table(asset_key(work.use_case, "validated_data"))
    return {f"{day}": rows for day, rows in table.row_counts().items()}


def _verdicts(work: Work, partitions: Mapping[Key, Counts], usual: Mapping[str, int]) -> Iterator[Verdict]:
    """What the checks say of partitions in their order; what has changed, next to the last good one before."""
    contract, last = work.use_case.contract, None
    for key, counts in partitions.items():
        is_bad = counts.rows == 0 or counts.bad / counts.rows > contract.quarantine_at_most
        if is_bad and last is None:
            last = _last_good(work, key)
        shown = {
            "rows": counts.rows,
            "quarantined": counts.bad,
            **({EXAMPLES: some_of(counts.examples)} if counts.bad else {}),
            **({} if counts.rows else {FOLLOWS: "raw_data"}),
        }
        reason = _reason(counts, contract.quarantine_at_most, last) if is_bad else None
        last = last if is_bad else (str(key), counts.broken)
        yield Verdict("contract", key, reason, shown, acceptable=counts.rows > 0)
        if contract.volume is not None:
            before = [usual[at] for at in sorted(usual) if at < str(key)]
            yield Verdict("volume", key, volume_problem(counts.kept, before, contract.volume), {"rows": counts.kept})
        if contract.duplicates_at_most is not None:
            repeated = counts.broken.get(f"{contract.key[0]} unique", 0)
            problem = duplicates_problem(counts.rows, repeated, contract.duplicates_at_most)
            yield Verdict("duplicates", key, problem, {"repeated": repeated})


def _last_good(work: Work, key: Key) -> tuple[str, Mapping[str, int]] | None:
    """The last published partition before one, with how often its rows broke each rule."""
    good = newest_before(work.instance, asset_key(work.use_case, "validated_data"), key)
    if good is None or good.partition_key is None:
        return None
    of = newest_materializations(work.instance, asset_key(work.use_case, "quarantine"), [good.partition_key])
    return good.partition_key, told(of.get(good.partition_key), "broken_rules") or {}


def rows_by_partition(rows: pl.DataFrame) -> dict[str | None, int]:
    """The number of rows in each partition, by its key."""
    if PARTITION not in rows.columns:
        return {None: rows.height}
    counted = rows.group_by(PARTITION).len().with_columns(pl.col(PARTITION).cast(pl.String))
    return dict(counted.iter_rows())


def broken_rules(quarantined: pl.DataFrame) -> dict[str | None, dict[str, int]]:
    """How often each rule was broken in each partition, the worst first."""
    by = [PARTITION] if PARTITION in quarantined.columns else []
    violations = quarantined.select(*by, VIOLATIONS).explode(VIOLATIONS, empty_as_null=False).unnest(VIOLATIONS)
    counted = (
        violations.group_by(*by, "column", "rule").len().sort("len", "column", "rule", descending=[True, False, False])
    )
    rules: dict[str | None, dict[str, int]] = {}
    for row in counted.iter_rows(named=True):
        rules.setdefault(str(row[PARTITION]) if by else None, {})[f"{row['column']} {row['rule']}"] = row["len"]
    return rules


def example_values(quarantined: pl.DataFrame) -> dict[str | None, dict[str, list[str]]]:
    """Some of the different values that broke each rule in each partition, long ones cut."""
    by = [PARTITION] if PARTITION in quarantined.columns else []
    violations = quarantined.select(*by, VIOLATIONS).explode(VIOLATIONS, empty_as_null=False).unnest(VIOLATIONS)
    found = violations.group_by(*by, "column", "rule").agg(
        pl.col("value").drop_nulls().str.head(LONGEST).unique(maintain_order=True).head(SHOWN)
    )
    examples: dict[str | None, dict[str, list[str]]] = {}
    for row in found.sort(*by, "column", "rule").iter_rows(named=True):
        examples.setdefault(str(row[PARTITION]) if by else None, {})[f"{row['column']} {row['rule']}"] = row["value"]
    return examples


def some_of(examples: Mapping[str, Sequence[str]]) -> list[str]:
    """A few of the examples, such as `amount min: -3.5`, of as many rules as there can be."""
    turns = [(rule, value) for n in range(SHOWN) for rule, values in examples.items() for value in values[n : n + 1]]
    return [f"{rule}: {value}" for rule, value in turns[:SHOWN]]


def _reason(counts: Counts, limit: float, last: tuple[str, Mapping[str, int]] | None) -> str:
    if counts.rows == 0:
        return "there is no raw data; materialize raw_data first."
    worst = []
    for rule, times in list(counts.broken.items())[:WORST_RULES]:
        notes = [", ".join(map(repr, counts.examples[rule]))] if counts.examples.get(rule) else []
        notes += [f"none on {last[0]}"] if last and rule not in last[1] else []
        worst.append(f"{rule} {times}" + (f" ({'; '.join(notes)})" if notes else ""))
    return (
        f"{counts.bad} of {counts.rows} rows break the contract ({counts.bad / counts.rows:.1%}, at most {limit:.1%} "
        f"may): {', '.join(worst)}; look at quarantine, mend the source or the contract."
    )

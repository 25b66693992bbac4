"""Fills the tutorial's project with days before it is measured, in one process: `python -m benchmarks.seed DAY ...`."""

import sys

import dagster as dg

from benchmarks.tutorial import defs


def main() -> None:
    """Materialize every asset for the days given."""
    job = defs.resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.get() as instance:
        for day in sys.argv[1:]:
            job.execute_in_process(instance=instance, partition_key=day, run_config=quiet)


if __name__ == "__main__":
    main()

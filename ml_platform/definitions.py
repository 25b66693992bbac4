"""What Dagster loads: everything below `defs/`."""

from pathlib import Path

import dagster as dg

from ml_platform.partitions import accepted_previews


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of all use cases and of the platform's resources."""
    # load_from_defs_folder does the same, and describes every component type of every package besides: each run would
    # pay for that with a tenth of a second
    with accepted_previews():
        return dg.ComponentTree.for_project(Path(__file__).parent).build_defs(Path())

import shutil
from pathlib import Path

import dagster as dg
from dagster._core.instance import InstanceRef
from dagster._daemon.controller import create_daemon_of_type
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

REPOSITORY = Path(__file__).parents[1]


def test_the_daemon_looks_at_the_queue_twice_a_second_and_keeps_its_limits(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance:
        daemon = create_daemon_of_type(QueuedRunCoordinatorDaemon.daemon_type(), instance)
        assert isinstance(daemon, QueuedRunCoordinatorDaemon)
        assert daemon.interval_seconds == 0.5
        limits = instance.get_concurrency_config().run_queue_config
        assert limits
        assert limits.max_concurrent_runs == 2

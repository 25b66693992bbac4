"""Which resource stands under which key: everything below one folder, or where the environment says; and alerts."""

import os
from pathlib import Path

import dagster as dg

from ml_platform.alerts.sensor import alerts
from ml_platform.components import UseCase
from ml_platform.housekeeping.job import housekeeping
from ml_platform.io_managers.models import ModelIOManager
from ml_platform.io_managers.reports import ReportIOManager
from ml_platform.io_managers.tables import TableIOManager
from ml_platform.resources.alerting import Alerts
from ml_platform.resources.dagster_ui import WEBSERVER
from ml_platform.resources.lake import Lake
from ml_platform.resources.mlflow_server import UI, is_server
from ml_platform.resources.tracking import Tracking


@dg.definitions
def resources(context: dg.ComponentLoadContext) -> dg.Definitions:
    """The platform's resources and executor, the sensor that tells what goes wrong, and the job that cleans up."""
    home = Path(os.environ.get("ML_PLATFORM_HOME", ".ml_platform")).absolute()
    lake = Lake(root=os.environ.get("ML_PLATFORM_LAKE", str(home / "lake")))
    webserver = os.environ.get("DAGSTER_WEBSERVER_URL", WEBSERVER)
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    own = "" if is_server(given) else str(home / "artifacts")
    tracking = Tracking(
        # by its name: the values of resources are shown in the UI, and this one may hold a password
        uri=dg.EnvVar("MLFLOW_TRACKING_URI") if given else f"sqlite:///{home / 'mlflow.db'}",
        artifacts=os.environ.get("ML_PLATFORM_ARTIFACTS", own),
        webserver=webserver,
        ui=os.environ.get("MLFLOW_UI_URL", UI),
    )
    tree = context.component_tree
    platform = dg.Definitions(
        resources={
            "lake": lake,
            "tracking": tracking,
            "tables": TableIOManager(lake=lake),
            "models": ModelIOManager(tracking=tracking),
            "reports": ReportIOManager(lake=lake),
            "alerts": Alerts(webserver=webserver),
        },
        sensors=[alerts],
        # steps share what they import, which costs more than what they compute
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(platform, housekeeping(lambda: tree.get_all_components(UseCase)))

"""The kinds of sources, each with the module that reads it; a module is imported when its kind is used."""

from importlib import import_module

from ml_platform.sources.delivery import Delivery, Session, Wanted
from ml_platform.use_case import UseCase

MODULES = {
    "python": "ml_platform.sources.python",
    "files": "ml_platform.sources.files",
    "sql": "ml_platform.sources.sql",
    "asset": "ml_platform.sources.asset",
}


def read(use_case: UseCase, wanted: Wanted, session: Session) -> list[Delivery]:
    """What the use case's source has for each of the wanted partitions."""
    module = import_module(MODULES[use_case.source.type])
    deliveries: list[Delivery] = module.read(use_case.source, use_case, wanted, session)
    return deliveries

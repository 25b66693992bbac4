"""The Dagster component types of the platform."""

from ml_platform.components.use_case import UseCase

__all__ = ["UseCase"]

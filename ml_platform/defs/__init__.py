"""What Dagster loads: one folder a use case, and the platform's resources."""

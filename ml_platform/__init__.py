"""A Dagster asset-centric machine-learning platform: one YAML file, one gated, tracked, reproducible model."""

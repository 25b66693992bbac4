"""Plain machine learning on dataframes: nothing here knows of Dagster or MLflow."""

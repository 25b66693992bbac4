"""How long the platform takes, next to a bare script and to Dagster as its tutorials teach it: `make bench`."""

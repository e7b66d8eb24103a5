"""WHEN it runs: the only home of dagster."""

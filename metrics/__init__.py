"""Metrics, one file a metric or family; installed as `xaicli.metrics`."""

"""Metrics: what this process counts, for Prometheus. Their meaning: docs/observability.md."""

"""Observability: logs, metrics, traces, health."""

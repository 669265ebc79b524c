"""Dashboards for Grafana and rules for Prometheus, generated: what is in JSON and YAML beside this is written here."""

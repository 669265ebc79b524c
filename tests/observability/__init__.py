"""Dashboards and alerts: their form, and what they show and do of a worker that really works."""

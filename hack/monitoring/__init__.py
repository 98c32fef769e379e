"""Dashboards and alerts of the chart, made from tables.  Development only: nothing here is installed."""

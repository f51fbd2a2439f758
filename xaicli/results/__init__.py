"""Stores, statistics, tables and the report."""

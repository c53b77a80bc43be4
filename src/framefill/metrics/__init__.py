"""Scores of filled frames."""

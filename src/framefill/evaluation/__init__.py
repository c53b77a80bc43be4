"""Scores of a model under a protocol: many clips, many processes, one report."""

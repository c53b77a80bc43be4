"""Evaluation protocols by name, and what was published under them."""

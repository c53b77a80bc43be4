"""framefill: fill in the missing frames of a video."""

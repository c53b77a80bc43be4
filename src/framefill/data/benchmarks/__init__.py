"""Published data sets as they are on a disk, and their ways to divide training from testing."""

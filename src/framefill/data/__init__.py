"""Videos, arrays and synthetic digits, as clips."""

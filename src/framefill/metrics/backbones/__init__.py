"""Networks whose features metrics of videos compare, from weight files that the user has."""

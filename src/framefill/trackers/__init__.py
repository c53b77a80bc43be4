"""Where curves and sample videos of a training go, beside the run folder."""

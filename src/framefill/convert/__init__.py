"""Official checkpoints of MCVD and RaMViD, and ours."""

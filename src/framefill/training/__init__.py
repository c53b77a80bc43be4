"""Training: the loop, the state that it changes, and the processes it is spread over."""

from framefill.training.report import Report
from framefill.training.state import TrainState
from framefill.training.steps import STREAM_STEP, batches, train_steps

__all__ = ["STREAM_STEP", "Report", "TrainState", "batches", "train_steps"]

"""What is no usable step: numbers that are none, and explosions."""

import math
from dataclasses import dataclass

MEMORY = 100  # steps over which the usual loss and gradient are averaged


@dataclass
class Guard:
    """How the steps of a run have gone; training state, as it decides what is skipped.

    Attributes:
        loss: The usual loss, a geometric mean over the last good steps.
        norm: The usual norm of the gradient.
        good: Number of good steps.
        streak: Number of bad steps in a row, up to now.
        bad: Number of bad steps.
        detour: Batches that the run has left out on its way back: the batch of a step is that of
            number step + detour.
        returns: Number of times that the run went back to a checkpoint.
    """

    loss: float = 0.0
    norm: float = 0.0
    good: int = 0
    streak: int = 0
    bad: int = 0
    detour: int = 0
    returns: int = 0

    def judge(self, loss: float, norm: float, spike: float) -> str:
        """Say what is wrong with a step, or nothing, and remember how it went.

        Args:
            loss: Of the batch.
            norm: Of its gradient.
            spike: How many times the usual ones are too many; 0: any number will do.
        """
        reason = self._wrong(loss, norm, spike)
        if reason:
            self.refuse()
            return reason
        self.streak = 0
        self.good += 1
        share = 1 / min(self.good, MEMORY)
        self.loss = _moved(self.loss, loss, share)
        self.norm = _moved(self.norm, norm, share)
        return ""

    def refuse(self) -> None:
        """Remember a bad step."""
        self.streak += 1
        self.bad += 1

    def _wrong(self, loss: float, norm: float, spike: float) -> str:
        for name, value, usual in (
            ("loss", loss, self.loss),
            ("norm of the gradient", norm, self.norm),
        ):
            if not math.isfinite(value):
                return f"{name} {value:g}"
            if spike and self.good >= MEMORY and value > spike * usual > 0:
                return f"{name} {value:g}, usually {usual:g}"
        return ""


def _moved(mean: float, value: float, share: float) -> float:
    """Return a geometric mean moved to a value; one that is 0 says nothing."""
    if value <= 0:
        return mean
    return value if mean == 0 else math.exp((1 - share) * math.log(mean) + share * math.log(value))

"""How the weights move in training, as an immutable value."""

from dataclasses import dataclass

from framefill.errors import InputError, check_fields

WIDTHS = (0.01, 0.28)  # of power-function averages: beyond, no power gives the width


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How the weights move: AdamW with warm-up, annealing, clipping and averages of the weights."""

    steps: int = 100_000
    """Optimiser steps."""
    batch: int = 64
    """Clips per step."""
    microbatch: int = 0
    """Clips whose activations are held at once, for less memory; 0: all of the batch."""
    lr: float = 2e-4
    """Learning rate after the warm-up."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of Adam's averages."""
    eps: float = 1e-8
    """Adam's epsilon."""
    warmup: int = 1000
    """Steps in which the learning rate rises linearly from 0."""
    decay: float = 0.0
    """Share of the steps, at the end, in which the learning rate falls linearly to 0."""
    drop: float = 1.0
    """Factor of the learning rate at every drop_every-th step."""
    drop_every: int = 0
    """Steps between drops of the learning rate; 0: none."""
    inverse_decay: float = 0.0
    """The learning rate is divided by 1 + inverse_decay * step."""
    weight_decay: float = 0.0
    """Share, times the learning rate, by which weights shrink in each step (AdamW)."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; longer ones are shortened to it; 0: any."""
    ema: float = 0.999
    """Rate of the weights' moving average, in both papers a constant."""
    ema_power: float = 0.0
    """Above 0: rate (1 - 1/step)^(power + 1) instead, so that the average forgets its start."""
    more_ema: tuple[float, ...] = ()
    """Rates of further averages, each a model beside the first: model-ema-0.99 and so on."""
    ema_widths: tuple[float, ...] = ()
    """Widths of power-function averages of which snapshots are kept (log.snapshot_every), from
    which averages of any width are made later; EDM2's are 0.05 and 0.1."""
    spike: float = 1000.0
    """A step whose loss or gradient is this many times the usual one is skipped, like one in which
    they are no numbers; 0: only the latter."""
    patience: int = 5
    """After so many skipped steps in a row the run goes back to its last good checkpoint, once;
    then it stops."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1")
        for name in ("lr", "eps"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} {getattr(self, name)} must be above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"betas {self.betas} must be at least 0 and below 1")
        if self.warmup < 0 or self.ema_power < 0:
            raise InputError(
                f"warmup {self.warmup} and ema_power {self.ema_power} must be at least 0"
            )
        if not 0 <= self.decay <= 1 or not 0 <= self.ema < 1:
            raise InputError(f"decay {self.decay} and ema {self.ema} must be between 0 and 1")
        self._check_annealing()
        wrong = [rate for rate in self.more_ema if not 0 <= rate < 1]
        if wrong or len({self.ema, *self.more_ema}) <= len(self.more_ema):
            raise InputError(
                f"more_ema {self.more_ema} must be at least 0, below 1, and all different, also "
                f"from ema {self.ema}"
            )
        for name in ("microbatch", "clip_norm"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} {getattr(self, name)} must be at least 0")
        self._check_safety()

    def _check_annealing(self) -> None:
        if not 0 < self.drop <= 1 or self.drop_every < 0:
            raise InputError(
                f"drop {self.drop} must be above 0 and at most 1, drop_every {self.drop_every} at "
                "least 0"
            )
        if (self.drop < 1) != (self.drop_every > 0):
            raise InputError(
                f"drop {self.drop} and drop_every {self.drop_every} go together: a factor below 1 "
                "and a number of steps, or neither"
            )
        if self.inverse_decay < 0 or self.weight_decay < 0:
            raise InputError(
                f"inverse_decay {self.inverse_decay} and weight_decay {self.weight_decay} must be "
                "at least 0"
            )

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0; the first of a warm-up is 0."""
        rise = min(step / self.warmup, 1.0) if self.warmup else 1.0
        fall = min((self.steps - step) / (self.decay * self.steps), 1.0) if self.decay else 1.0
        drops = self.drop ** (step // self.drop_every) if self.drop_every else 1.0
        return self.lr * rise * max(fall, 0.0) * drops / (1 + self.inverse_decay * step)

    def ema_at(self, step: int) -> float:
        """Return the moving average's rate after `step` steps."""
        return (1 - 1 / step) ** (self.ema_power + 1) if self.ema_power else self.ema

    def _check_safety(self) -> None:
        low, high = WIDTHS
        if not all(low <= width <= high for width in self.ema_widths) or len(
            set(self.ema_widths)
        ) < len(self.ema_widths):
            raise InputError(
                f"ema_widths {self.ema_widths} must be between {low} and {high}, and all different"
            )
        if self.patience < 1 or (self.spike and self.spike <= 1):
            raise InputError(
                f"patience {self.patience} must be at least 1 and spike {self.spike} above 1, or 0 "
                "for none"
            )

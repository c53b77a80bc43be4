"""What a training run writes, and when, as an immutable value."""

from dataclasses import dataclass

from framefill.errors import InputError, check_fields


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """What a run writes, and when."""

    log_every: int = 50
    """Steps between lines in metrics.jsonl."""
    sample_every: int = 2000
    """Steps between looks at fixed held-out clips: their loss, filled clips, scores; 0: none."""
    save_every: int = 1000
    """Steps between checkpoints."""
    keep: int = 2
    """Newest checkpoints kept; older ones are removed."""
    keep_best: int = 0
    """Checkpoints kept beside them: those with the lowest loss on held-out clips."""
    snapshot_every: int = 0
    """Steps between snapshots of the power-function averages (optim.ema_widths); 0: none."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Where curves and sample videos go beside the run folder: tensorboard (passed over, with a
    note, where it isn't installed), wandb, or the name of an installed plugin."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("log_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1")
        for name in ("sample_every", "keep_best", "snapshot_every"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} {getattr(self, name)} must be at least 0")
        if self.keep_best and not self.sample_every:
            raise InputError(
                f"keep_best {self.keep_best} needs sample_every above 0: the best are found by a "
                "look at held-out clips"
            )

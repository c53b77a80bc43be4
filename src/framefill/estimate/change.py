"""Settings that make a training take less memory."""

from dataclasses import dataclass, replace

from framefill.config import Config
from framefill.device import Precision


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is set otherwise than the user has it; None: as it is.

    Args:
        microbatch: Clips whose activations are held at once.
        precision: Of the network's arithmetic.
        recompute: Compute the inside of each block again on the way back.
        batch: Clips per step.
    """

    microbatch: int | None = None
    precision: Precision | None = None
    recompute: bool = False
    batch: int | None = None

    def of(self, config: Config) -> Config:
        """Return a config with the change."""
        optim = config.optim
        if self.batch is not None:
            optim = replace(optim, batch=self.batch)
        if self.microbatch is not None:
            optim = replace(optim, microbatch=self.microbatch)
        return replace(
            config,
            optim=optim,
            precision=self.precision or config.precision,
            recompute=self.recompute or config.recompute,
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """The change as words of a command.

        >>> Change(microbatch=4, recompute=True).flags
        ('--optim.microbatch', '4', '--recompute')
        """
        words: list[str] = []
        for flag, value in (
            ("--optim.batch", self.batch),
            ("--optim.microbatch", self.microbatch),
            ("--precision", self.precision),
        ):
            if value is not None:
                words += [flag, str(value)]
        return (*words, *(["--recompute"] if self.recompute else []))

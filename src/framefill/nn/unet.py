"""The skeleton that all U-Nets share: down, middle, and up with skips from the way down."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Step(nn.Module):
    """One station of a U-Net: any of a residual block, an attention block and a resampling.

    Args:
        residual: Called with the features, the level embedding and the context.
        attention: Called with the features.
        resample: Called with the features.
        joins: The features are first joined with the skip from the way down.
        skip: Called with that skip before it is joined.
    """

    def __init__(
        self,
        residual: nn.Module | None = None,
        *,
        attention: nn.Module | None = None,
        resample: nn.Module | None = None,
        joins: bool = False,
        skip: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.skip, self.residual = skip, residual
        self.attention, self.resample = attention, resample
        self.joins = joins

    def join(self, features: Tensor, skip: Tensor) -> Tensor:
        """Return the features joined with a skip."""
        return torch.cat([features, skip if self.skip is None else self.skip(skip)], dim=1)

    def forward(self, features: Tensor, embedding: Tensor, *context: Any) -> Tensor:
        """Return features of the same axes, with the channels and size of this station."""
        if self.residual is not None:
            features = self.residual(features, embedding, *context)
        if self.attention is not None:
            features = self.attention(features)
        if self.resample is not None:
            features = self.resample(features)
        return features


class UNet(nn.Module):
    """A U-Net from its parts (Ronneberger et al. 2015).

    Args:
        stem: First convolution.
        down: Stations of the way down; the stem and every one of them leaves a skip.
        middle: Stations at the lowest resolution.
        up: Stations of the way up; those that join take the last skip left, each skip once.
        head: From features, and the context, to the output.

    Attributes:
        recompute: Keep what goes in and out of the stations for the gradient, not what is inside:
            it is computed again on the way back.
    """

    def __init__(
        self,
        *,
        stem: nn.Module,
        down: Iterable[Step],
        middle: Iterable[Step],
        up: Iterable[Step],
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.recompute = False
        self.stem, self.head = stem, head
        self.down, self.middle, self.up = map(nn.ModuleList, (down, middle, up))

    def forward(self, image: Tensor, embedding: Tensor, *context: Any) -> Tensor:
        """Return the output for an image [b c h w] or volume [b c f h w].

        Args:
            image: The network's input.
            embedding: Embedding of the noise level [b e].
            *context: What else the residual blocks and the head read, if anything.
        """
        features = self.stem(image)
        skips = [features]
        for step in self.down:
            features = self._through(step, features, embedding, *context)
            skips.append(features)
        for step in self.middle:
            features = self._through(step, features, embedding, *context)
        for step in self.up:
            if isinstance(step, Step) and step.joins:
                features = step.join(features, skips.pop())
            features = self._through(step, features, embedding, *context)
        return self.head(features, *context)

    def _through(
        self, step: nn.Module, features: Tensor, embedding: Tensor, *context: Any
    ) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(step, features, embedding, *context, use_reentrant=False)
        return step(features, embedding, *context)

"""The skeleton that all U-Nets share: down, middle, and up with skips from the way down."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Step(nn.Module):
    """One station of a U-Net: any of a residual block, an attention block and a resampling.

    Args:
        residual: Called with the features and the level embedding.
        attention: Called with the features.
        resample: Called with the features.
        joins: The features are first joined with the skip from the way down.
    """

    def __init__(
        self,
        residual: nn.Module | None = None,
        *,
        attention: nn.Module | None = None,
        resample: nn.Module | None = None,
        joins: bool = False,
    ) -> None:
        super().__init__()
        self.residual, self.attention, self.resample = residual, attention, resample
        self.joins = joins

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Return features of the same axes, with the channels and size of this station."""
        if self.residual is not None:
            features = self.residual(features, embedding)
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
        head: From features to the output.
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
        self.stem, self.head = stem, head
        self.down, self.middle, self.up = map(nn.ModuleList, (down, middle, up))

    def forward(self, image: Tensor, embedding: Tensor) -> Tensor:
        """Return the output for an image [b c h w] or volume [b c f h w].

        Args:
            image: The network's input.
            embedding: Embedding of the noise level [b e].
        """
        features = self.stem(image)
        skips = [features]
        for step in self.down:
            features = step(features, embedding)
            skips.append(features)
        for step in self.middle:
            features = step(features, embedding)
        for step in self.up:
            if step.joins:
                features = torch.cat([features, skips.pop()], dim=1)
            features = step(features, embedding)
        return self.head(features)

"""Colour and transparency → brightness, so that ink differs from paper in it.

    brightness = to_brightness(picture)     # uint8 (H, W, 4) → float32 (H, W), 0–1

Brightness is luma, as the eye has it, unless the colours differ far more in another direction: red
ink on green paper of the same luma. What shows through transparency is white paper, unless all that
is drawn is bright: then it is black.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mnistnet.picture.canvas import full_frame

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue, by Rec. 601
SAMPLES = 64  # rows and columns of the picture, evenly spaced, on which its colours are measured
COLOUR_GAIN = 3.0  # how many times luma's variance another direction must have to be taken
# Standard deviation of luma, below which what is drawn on a transparent canvas is one pen's ink: a
# bright pen's if the mean exceeds a half. A card with a digit on it varies more.
BRIGHT_PEN_DEVIATION = 0.12
DIAGONAL = [0, 4, 8]  # of a matrix 3×3, flattened
SQUARINGS = 5  # of the covariance matrix: its 32nd power is the first principal direction's alone


def to_brightness(picture: Tensor) -> Tensor:
    """Return the brightness in which the colours of a picture differ most.

    Args:
        picture: uint8 (H, W, 4): red, green, blue and opacity, not multiplied by each other.

    Returns:
        float32 (H, W), 0 dark to 1 bright.
    """
    samples = _sample(picture).float() / 255  # (SAMPLES², 4)
    background = _background(samples)
    colours = samples[:, :3] * samples[:, 3:] + background * (1 - samples[:, 3:])
    weights = _direction(colours)
    # Brightness grows with some colours and falls with others: the offset keeps it above 0.
    offset = -weights.clamp_max(0).sum()
    shown = background * weights.sum()  # brightness of the background, without the offset
    channels = picture.permute(2, 0, 1).float()
    colour = (weights / 255**2) @ channels[:3].flatten(1)  # (H × W,)
    brightness = (colour - shown / 255) * channels[3].flatten() + (shown + offset)
    return brightness.clamp(0, 1).view(picture.shape[:2])


def _sample(picture: Tensor) -> Tensor:
    """Return evenly spaced pixels of a picture (H, W, C): (SAMPLES², C)."""
    steps = (torch.arange(SAMPLES) + 0.5) / SAMPLES
    rows, columns = (full_frame(picture[..., 0]).end.T * steps).long()
    return picture.index_select(0, rows).index_select(1, columns).flatten(0, 1)


def _background(samples: Tensor) -> Tensor:
    """Return what shows through transparency, 1 for white or 0 for black: (N, 4) → ()."""
    opacity = samples[:, 3]
    luma = (samples[:, :3] * torch.tensor(LUMA)).sum(1)
    total = opacity.sum().clamp_min(1e-6)
    mean = (luma * opacity).sum() / total
    variance = ((luma - mean).square() * opacity).sum() / total
    is_bright_pen = (mean > 0.5) & (variance < BRIGHT_PEN_DEVIATION**2)
    return 1.0 - is_bright_pen.float()


def _direction(colours: Tensor) -> Tensor:
    """Return the weights (3,) of red, green and blue, whose absolute values add up to 1.

    They are luma's, or, where that has COLOUR_GAIN times the variance, those of the first principal
    component of the colours (N, 3) (Pearson 1901), found by powers of their covariance matrix.
    """
    deviations = colours - colours.mean(0)
    covariance = deviations.T @ deviations
    power = covariance / covariance.flatten()[DIAGONAL].sum().clamp_min(1e-12)
    for _ in range(SQUARINGS):
        power = power @ power
    # Each column is a multiple of the principal direction; the longest is the most exact.
    longest = power.flatten()[DIAGONAL].argmax(0, keepdim=True)
    principal = power.index_select(1, longest).squeeze(1)
    luma = torch.tensor(LUMA)
    principal = torch.where(principal @ luma < 0, -principal, principal)
    principal = principal / principal.abs().sum().clamp_min(1e-30)
    is_clearer = (principal @ covariance @ principal) > COLOUR_GAIN * (luma @ covariance @ luma)
    return torch.where(is_clearer, principal, luma)

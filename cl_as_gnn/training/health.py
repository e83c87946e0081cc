"""Collapse: samples get nearly one feature vector, or lie on a few lines, and no loss says so."""

from __future__ import annotations

_RANK, _SPREAD = 4.0, 0.05


def collapsed(rank: float | None, spread: float | None, most: int) -> bool:
    """Whether unit features have collapsed, by their effective rank and their spread; false where unknown.

    They have if the rank is below 4, or below a quarter of the largest possible rank ``most`` if that is less, or if
    the spread is below 0.05 (0 is a point, 1 uses all directions alike). Ten-epoch runs of 16 methods on digits stayed
    above 12 and 0.15; runs of ``align_uniform`` without repulsion end below 3 or 0.05.
    """
    return (rank is not None and rank < min(_RANK, most / 4)) or (spread is not None and spread < _SPREAD)


def collapse_note(epoch: int) -> str:
    """One line with cures."""
    return (
        f"collapsed in epoch {epoch}: samples get nearly the same features, which are then worth little. Lower "
        "optim.lr, raise the weight of what repels or method.momentum of a target, or use method.name=simclr"
    )

"""Small things several tests use."""

import torch


def seeded(seed: int) -> torch.Generator:
    """Return a CPU generator that starts from ``seed``."""
    return torch.Generator().manual_seed(seed)

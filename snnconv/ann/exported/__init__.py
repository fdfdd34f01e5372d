"""Exported programs (``.pt2``, as ``torch.export.save`` writes them): read, and never executed."""

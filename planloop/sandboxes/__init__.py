"""Sandboxes: bubblewrap and docker behind one contract (`planloop.sandbox`)."""

from __future__ import annotations

from planloop.sandboxes.opening import Probe, default_image, open_sandbox, probe

__all__ = ["Probe", "default_image", "open_sandbox", "probe"]

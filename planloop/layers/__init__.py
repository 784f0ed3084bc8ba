"""Setup: packages and commands run once with the network open, kept as layers, shown read-only.

What a setup may see decides its layer's key; the same key is never made twice. A layer's files
were written by code that is not trusted, and are only ever shown inside sandboxes.
"""

from __future__ import annotations

from planloop.layers.preparing import Prepared, Preparing, prepare
from planloop.layers.store import Layer, Store, layers_folder
from planloop.layers.suggest import suggested, suggestion

__all__ = [
    "Layer",
    "Prepared",
    "Preparing",
    "Store",
    "layers_folder",
    "prepare",
    "suggested",
    "suggestion",
]

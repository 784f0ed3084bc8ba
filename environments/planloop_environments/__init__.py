"""planloop's own environments."""

from planloop_environments.workspace import Workspace

__all__ = ["Workspace"]

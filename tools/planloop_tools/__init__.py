"""planloop's own tools: a shell and files, inside the run's sandbox."""

from planloop_tools.files import edit, read, write
from planloop_tools.find import search
from planloop_tools.processes import background, shell

__all__ = ["background", "edit", "read", "search", "shell", "write"]

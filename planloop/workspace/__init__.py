"""The user's folder: bounded copy in, diff out, apply and undo, pins for checks, outputs.

Everything here works on host paths, follows no link, and trusts neither a result that came out of
a sandbox nor a run folder that lies on disk.
"""

from planloop.workspace.applying import Applied, Conflicts, Undone, apply_changes, undo_changes
from planloop.workspace.changes import load_changes, save_changes
from planloop.workspace.copying import Copied, copy_workspace
from planloop.workspace.diffing import Change, Diff, diff
from planloop.workspace.judging import loads_in_process
from planloop.workspace.judging_python import python_loads_in_process
from planloop.workspace.manifest import Entry, manifest
from planloop.workspace.outputs import collect_outputs
from planloop.workspace.pins import Pinned, default_pins, matches, pinned_tree
from planloop.workspace.protected import is_protected, runs_by_itself
from planloop.workspace.selecting import LeftOut
from planloop.workspace.starting import keep_changes, with_changes
from planloop.workspace.workbench import Workbench

__all__ = [
    "Applied",
    "Change",
    "Conflicts",
    "Copied",
    "Diff",
    "Entry",
    "LeftOut",
    "Pinned",
    "Undone",
    "Workbench",
    "apply_changes",
    "collect_outputs",
    "copy_workspace",
    "default_pins",
    "diff",
    "is_protected",
    "keep_changes",
    "load_changes",
    "loads_in_process",
    "manifest",
    "matches",
    "pinned_tree",
    "python_loads_in_process",
    "runs_by_itself",
    "save_changes",
    "undo_changes",
    "with_changes",
]

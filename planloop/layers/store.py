"""Layers on disk: what setups made, by the hash of everything that they could see.

One folder a layer, complete or absent. Its files were written by code that is not trusted: they
are shown inside sandboxes, and nothing here follows, imports or runs them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import stat
import weakref
from collections.abc import Mapping
from pathlib import Path

import anyio

from planloop.errors import UserError
from planloop.sandboxes import tree

MAX_BYTES = 10_000_000_000
"""Kept of all layers together; the longest unused go first."""
_RECORD_BYTES = 64_000_000
_POLL_S = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One complete layer."""

    key: str
    folder: Path
    bytes: int = 0
    deleted: tuple[str, ...] = ()
    """Files of the workspace that the setup removed."""
    notes: tuple[str, ...] = ()
    """What could not be kept, one sentence each."""

    @property
    def environment(self) -> Path:
        """What belongs at `ENVIRONMENT`."""
        return self.folder / "environment"

    @property
    def files(self) -> Path:
        """Files of the workspace that the setup made or changed."""
        return self.folder / "files"


class Hold:
    """A layer's lock, held until `close`: shared while it is used, alone while it is made."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)
        """Let go. Safe to call twice."""

    def share(self) -> None:
        """Let others use the layer too."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)


def layers_folder(environ: Mapping[str, str]) -> Path:
    """Where a user's layers lie."""
    base = environ.get("XDG_CACHE_HOME", "")
    home = Path(environ.get("HOME") or Path.home())
    return (Path(base) if Path(base).is_absolute() else home / ".cache") / "planloop" / "layers"


class Store:
    """The layers of one user.

    Args:
        folder: as `layers_folder` says; made when it is first needed.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    async def use(self, key: str) -> tuple[Layer | None, Hold]:
        """A layer and a shared hold on it; or None and the hold of its only maker.

        Waits while somebody else makes it.

        Raises:
            UserError: the folder cannot be used.
        """
        self._make_folder()
        while True:
            if (descriptor := self._locked(key, fcntl.LOCK_EX)) is not None:
                hold = Hold(descriptor)
                if (layer := self._found_for_use(key)) is not None:
                    hold.share()
                return layer, hold
            if (descriptor := self._locked(key, fcntl.LOCK_SH)) is not None:
                hold = Hold(descriptor)
                if (layer := self._found_for_use(key)) is not None:
                    return layer, hold
                hold.close()
            await anyio.sleep(_POLL_S)

    def find(self, key: str) -> Layer | None:
        """The complete layer of this key, if there is one."""
        folder = self._folder / key
        try:
            with (folder / "layer.json").open("rb") as file:
                found = json.loads(file.read(_RECORD_BYTES))
            return Layer(
                key=key,
                folder=folder,
                bytes=int(found["bytes"]),
                deleted=tuple(found["deleted"]),
                notes=tuple(found["notes"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def layers(self) -> tuple[Layer, ...]:
        """Every complete layer, the longest unused first."""
        found = [layer for name in self._names() if (layer := self.find(name)) is not None]
        return tuple(sorted(found, key=_used_at))

    def begin(self, key: str) -> Layer:
        """An empty layer to be filled by the holder of its lock, and then published."""
        making = self._folder / f"{key}.new"
        tree.remove(making)
        layer = Layer(key=key, folder=making)
        for folder in (making, layer.environment, layer.files):
            folder.mkdir()
        return layer

    def publish(self, layer: Layer) -> Layer:
        """Make a filled layer complete, all at once."""
        size = _size(layer.folder)
        record = {"bytes": size, "deleted": layer.deleted, "notes": layer.notes}
        with (layer.folder / "layer.json").open("w", encoding="ascii") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        final = self._folder / layer.key
        tree.remove(final)  # one that lost its record
        layer.folder.rename(final)
        self._make_room(size, layer.key)
        return dataclasses.replace(layer, folder=final, bytes=size)

    def give_up(self, layer: Layer) -> None:
        """Remove a layer that was begun and will not be published; for the holder of its lock."""
        tree.remove(layer.folder)
        self._lock_path(layer.key).unlink(missing_ok=True)

    def remove(self, key: str) -> bool:
        """Remove a layer, or what is left of a half-made one, unless somebody holds it."""
        if (descriptor := self._locked(key, fcntl.LOCK_EX)) is None:
            return False
        hold = Hold(descriptor)
        try:
            for name in (key, f"{key}.new"):
                tree.remove(self._folder / name)
            self._lock_path(key).unlink(missing_ok=True)
        finally:
            hold.close()
        return True

    def held(self, key: str) -> bool:
        """Whether somebody uses or makes a layer at this moment."""
        if (descriptor := self._locked(key, fcntl.LOCK_EX)) is None:
            return True
        os.close(descriptor)
        return False

    def half_made(self) -> tuple[str, ...]:
        """Keys of layers that are being made, or whose maker died, maybe before its first file."""
        names = self._names()
        begun = {name.removesuffix(".new") for name in names if name.endswith(".new")}
        locked = {name.removesuffix(".lock") for name in names if name.endswith(".lock")}
        return tuple(sorted(begun | (locked - set(names))))

    def _names(self) -> list[str]:
        with contextlib.suppress(OSError):
            return sorted(os.listdir(self._folder))
        return []

    def _make_room(self, size: int, kept: str) -> None:
        total = sum(layer.bytes for layer in self.layers())
        for layer in self.layers():
            if total > self._max_bytes and layer.key != kept and self.remove(layer.key):
                total -= layer.bytes

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._folder.stat()
        except OSError as error:
            raise self._unusable(f"cannot be made: {error.strerror}") from None
        if found.st_uid != os.geteuid():
            raise self._unusable("is not yours")
        if stat.S_IMODE(found.st_mode) & 0o022:
            raise self._unusable("can be changed by others")

    def _unusable(self, why: str) -> UserError:
        return UserError(
            f"what a setup makes cannot be kept: `{self._folder}` {why}",
            hint="set `XDG_CACHE_HOME` to a folder of yours",
        )

    def _found_for_use(self, key: str) -> Layer | None:
        layer = self.find(key)
        if layer is not None:
            os.utime(layer.folder / "layer.json")
        return layer

    def _lock_path(self, key: str) -> Path:
        return self._folder / f"{key}.lock"

    def _locked(self, key: str, kind: int) -> int | None:
        """A descriptor that holds the lock; None if another's lock forbids it now."""
        path = self._lock_path(key)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor  # and not the file of a layer that was removed meanwhile
        except OSError:
            pass
        os.close(descriptor)
        return None


def _used_at(layer: Layer) -> float:
    with contextlib.suppress(OSError):
        return (layer.folder / "layer.json").stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    root = tree.open_root(folder)
    try:
        return sum(found.st_blocks * 512 for _, _, _, found in tree.walk(root, ours=True))
    finally:
        os.close(root)

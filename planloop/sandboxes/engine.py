"""A Docker engine, asked from worker threads, its many errors read as two of ours."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost, UserError
from planloop.text import one_line

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")

DEFAULT_IMAGE = "planloop-sandbox:latest"
PATIENCE_S = 15
"""How long an engine may be silent before it counts as lost."""
LONG_PATIENCE_S = 60
"""The same where containers are made, started and removed: many at once take their time."""
_ANY_VERSION = "1.41"
"""For the one question that every version answers."""
_NONSENSE = (HTTPException, AttributeError, LookupError, TypeError, ValueError)
"""What the SDK or a reader of its answers stumbles over where an answer is cut or made up."""
_NO_ENGINE_HINT = (
    "start Docker, or let your user reach it (group `docker`), or set `DOCKER_HOST`; "
    "`planloop doctor` shows each check"
)


class Engine:
    """Connections to an engine. Its calls may be made from several tasks at once."""

    def __init__(self, address: str, client: APIClient, patient: APIClient) -> None:
        self._address = address
        self._client = client
        self._patient = patient
        self._threads = anyio.CapacityLimiter(4)

    @classmethod
    async def connect(cls) -> Engine:
        """An engine that answers.

        Raises:
            UserError: none does, or the SDK is missing.
        """
        return cls(*await anyio.to_thread.run_sync(_connected))

    async def ask(self, question: Callable[[APIClient], T], *, long: bool = False) -> T:
        """Put one question to the engine.

        Args:
            long: whether the answer may take as long as work on containers does.

        Raises:
            docker.errors.APIError: the engine refused it.
            SandboxLost: the engine does not answer, or answers nonsense.
        """
        client = self._patient if long else self._client
        return await anyio.to_thread.run_sync(
            lambda: _asked(self._address, client, question), limiter=self._threads
        )

    def ask_blocking(self, question: Callable[[APIClient], T]) -> T:
        """As `ask`, from a thread that may wait."""
        return _asked(self._address, self._client, question)

    async def image(self, name: str) -> dict[str, Any]:
        """What the engine knows of an image; it is never pulled.

        Raises:
            UserError: the engine does not have it.
            SandboxLost: the engine does not answer.
        """
        from docker.errors import APIError

        try:
            return await self.ask(lambda client: dict(_any(client).inspect_image(name)))
        except APIError:
            raise _no_image(name) from None

    async def close(self) -> None:
        """Hang up."""
        for client in (self._client, self._patient):
            await anyio.to_thread.run_sync(client.close)


def hang_up(channel: Any) -> None:
    """End a stream of the SDK at once: while it waits for us, the engine sees no other exit."""
    connection = getattr(channel, "_sock", None)
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    channel.close()


def _any(client: APIClient) -> Any:
    """The client without its stubs, where they lack types."""
    return client


def _connected() -> tuple[str, APIClient, APIClient]:
    try:
        from docker import APIClient
        from docker.constants import DEFAULT_UNIX_SOCKET
        from docker.errors import DockerException
        from docker.utils import kwargs_from_env
    except ImportError:
        raise UserError(
            "sandbox `docker` needs the package `docker`", hint="`pip install docker`"
        ) from None
    try:
        settings: dict[str, Any] = {**kwargs_from_env()}
        address = settings.get("base_url") or DEFAULT_UNIX_SOCKET
        _knock(address)
        version = _version(APIClient(version=_ANY_VERSION, timeout=PATIENCE_S, **settings))
        return (
            address,
            APIClient(version=version, timeout=PATIENCE_S, **settings),
            APIClient(version=version, timeout=LONG_PATIENCE_S, **settings),
        )
    except (DockerException, OSError, *_NONSENSE) as error:
        raise UserError(
            f"sandbox `docker` cannot run: no Docker engine answers ({one_line(str(error), 120)})",
            hint=_NO_ENGINE_HINT,
        ) from None


def _knock(address: str) -> None:
    """Try a local socket first: the SDK leaks its own when nobody answers."""
    scheme, _, path = address.partition("://")
    if scheme in ("unix", "http+unix"):
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(f"/{path.lstrip('/')}")


def _version(client: APIClient) -> str:
    """The engine's own version of its API; closes the client, which the SDK's search does not."""
    try:
        answer = client.get(f"{client.base_url}/_ping", timeout=PATIENCE_S)
        answer.raise_for_status()
        return str(answer.headers["Api-Version"])
    finally:
        client.close()


def _asked(address: str, client: APIClient, question: Callable[[APIClient], T]) -> T:
    from docker.errors import APIError, DockerException

    try:
        _knock(address)
        return question(client)
    except APIError:
        raise
    except (DockerException, OSError, *_NONSENSE) as error:
        raise SandboxLost(
            f"the Docker engine does not answer ({one_line(str(error), 120)})",
            hint="see whether the engine still runs",
        ) from None


def _no_image(name: str) -> UserError:
    build = "build it from planloop's Dockerfile: `docker build -t {} - <Dockerfile`"
    fetch = "fetch it yourself: `docker pull {}`"
    hint = (build if name == DEFAULT_IMAGE else fetch).format(one_line(name, 80))
    return UserError(
        f"the Docker engine has no image `{one_line(name, 80)}`, and planloop pulls none",
        hint=hint,
    )

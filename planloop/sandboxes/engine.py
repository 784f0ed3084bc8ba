"""A Docker engine, asked from worker threads, its many errors read as two of ours."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost, UserError
from planloop.text import one_line

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")

DEFAULT_IMAGE = "planloop-sandbox:latest"
_ANSWER_DEADLINE_S = 60
_ANY_VERSION = "1.41"
"""For the one question that every version answers."""
_NO_ENGINE_HINT = (
    "start Docker, or let your user reach it (group `docker`), or set `DOCKER_HOST`; "
    "`planloop doctor` shows each check"
)


class Engine:
    """One connection to an engine. Its calls may be made from several tasks at once."""

    def __init__(self, client: APIClient) -> None:
        self._client = client
        self._threads = anyio.CapacityLimiter(4)

    @classmethod
    async def connect(cls) -> Engine:
        """An engine that answers.

        Raises:
            UserError: none does, or the SDK is missing.
        """
        return cls(await anyio.to_thread.run_sync(_connected))

    async def ask(self, question: Callable[[APIClient], T]) -> T:
        """Put one question to the engine.

        Raises:
            docker.errors.APIError: the engine refused it.
            SandboxLost: the engine does not answer.
        """
        return await anyio.to_thread.run_sync(
            lambda: _asked(self._client, question), limiter=self._threads
        )

    def ask_blocking(self, question: Callable[[APIClient], T]) -> T:
        """As `ask`, from a thread that may wait."""
        return _asked(self._client, question)

    async def image(self, name: str) -> dict[str, Any]:
        """What the engine knows of an image; it is never pulled.

        Raises:
            UserError: the engine does not have it.
        """
        from docker.errors import APIError

        try:
            return await self.ask(lambda client: _any(client).inspect_image(name))
        except APIError:
            raise _no_image(name) from None

    async def close(self) -> None:
        """Hang up."""
        await anyio.to_thread.run_sync(self._client.close)


def _any(client: APIClient) -> Any:
    """The client without its stubs, where they lack types."""
    return client


def _connected() -> APIClient:
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
        settings: dict[str, Any] = {"timeout": _ANSWER_DEADLINE_S, **kwargs_from_env()}
        _knock(settings.get("base_url") or DEFAULT_UNIX_SOCKET)
        return APIClient(version=_version(APIClient(version=_ANY_VERSION, **settings)), **settings)
    except (DockerException, OSError) as error:
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
        return str(_any(client).version(api_version=False)["ApiVersion"])
    finally:
        client.close()


def _asked(client: APIClient, question: Callable[[APIClient], T]) -> T:
    from docker.errors import APIError, DockerException

    try:
        return question(client)
    except APIError:
        raise
    except (DockerException, OSError) as error:
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

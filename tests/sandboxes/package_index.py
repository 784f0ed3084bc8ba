"""A package index on this machine, with one package and a password, that counts its requests."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WHEEL = "tinyword-1.0-py3-none-any.whl"
USER, PASSWORD = "reader", "cnry-9f27-index"


def wheel() -> bytes:
    """A wheel of one module and one command."""
    info = "tinyword-1.0.dist-info"
    files = {
        "tinyword.py": "WORD = 'petrichor'\ndef main():\n    print(WORD)\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinyword\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ntinyword = tinyword:main\n",
    }
    rows = [f"{name},{_digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def _digest(text: str) -> str:
    raw = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={raw.rstrip(b'=').decode()}"


class Index:
    """The index, as it runs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[str] = []

    def environ(self, host: str) -> dict[str, str]:
        """Variables by which pip finds it."""
        address = f"http://{USER}:{PASSWORD}@{host}:{self.port}/simple"
        return {
            "PIP_INDEX_URL": address,
            "PIP_TRUSTED_HOST": host,
            "PIP_CONFIG_FILE": "/dev/null",
        }


@contextlib.contextmanager
def served(password: str = PASSWORD) -> Iterator[Index]:
    """Serve the index on every address of this machine."""
    data = wheel()
    pages = {
        "/simple/tinyword/": f'<a href="/{WHEEL}">{WHEEL}</a>'.encode(),
        f"/{WHEEL}": data,
    }
    token = base64.b64encode(f"{USER}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == f"Basic {token}"
            body = pages.get(self.path, b"")
            self.send_response(401 if not allowed else 200 if body else 404)
            if not allowed:
                self.send_header("WWW-Authenticate", "Basic")
            kind = "text/html" if self.path.endswith("/") else "application/zip"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) if allowed else 0))
            self.end_headers()
            self.wfile.write(body if allowed else b"")
            index.requests.append(self.path)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        index = Index(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()


def this_machine(kind: str) -> str:
    """This machine's address, as a sandbox of this kind with the full network knows it."""
    if kind == "bubblewrap":
        return "127.0.0.1"
    from docker import APIClient

    client = APIClient(version="1.41")
    try:
        network = client.inspect_network("bridge")
    finally:
        client.close()
    return str(network["IPAM"]["Config"][0].get("Gateway") or "172.17.0.1")

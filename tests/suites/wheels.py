"""A package index on this machine, made of distributions that are installed here."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution


def wheel(name: str) -> tuple[str, bytes]:
    """A distribution of pure Python, installed from a wheel, as the wheel it came from."""
    found = distribution(name)
    spelled = found.name.lower().replace("-", "_")
    info = f"{spelled}-{found.version}.dist-info"
    files = {
        str(path): path.read_binary()
        for path in found.files or ()
        if ".." not in path.parts and "__pycache__" not in path.parts and path.name != "RECORD"
    }
    record = [f"{path},{_digest(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return f"{spelled}-{found.version}-py3-none-any.whl", packed.getvalue()


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"


@contextlib.contextmanager
def served(names: Sequence[str]) -> Iterator[int]:
    """Serve distributions on every address of this machine; yields the port."""
    pages: dict[str, bytes] = {}
    for name in names:
        file, data = wheel(name)
        pages[f"/simple/{name}/"] = f'<a href="/{file}">{file}</a>'.encode()
        pages[f"/{file}"] = data

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, b"")
            self.send_response(200 if body else 404)
            kind = "text/html" if self.path.endswith("/") else "application/zip"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def address_from(kind: str) -> str:
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

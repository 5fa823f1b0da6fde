"""A local server that speaks as much of the Hugging Face hub's language as a fetch and a push take."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

TOKEN = "hf_test"
Files = dict[str, bytes]


@dataclass
class Hub:
    """Repositories: of each its branches and the files of its commits.

    ``gated`` lets nobody in; ``boasts`` are sizes that it claims of files; ``asked`` is what it was asked.
    """

    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    commits: dict[str, Files] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    boasts: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    created: list[dict] = field(default_factory=list)

    def commit(self, repository: str, files: Files) -> str:
        """Add files to what the main branch has; a commit's name follows from its content."""
        branches = self.branches.setdefault(repository, {})
        files = self.commits.get(branches.get("main", ""), {}) | files
        seed = b"".join(name.encode() + content for name, content in sorted(files.items()))
        oid = hashlib.sha1(repository.encode() + seed).hexdigest()
        self.commits[oid] = files
        branches["main"] = oid
        return oid


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, content: bytes, code: int = 200, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any) -> None:
        self._answer(json.dumps(value).encode(), Content_Type="application/json")

    def _refuse(self, code: int, reason: str) -> None:
        self._answer(b"{}", code, X_Error_Code=reason)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _commit_of(self, repository: str, revision: str) -> str | None:
        """Find a revision, or say what is wrong with it."""
        if repository not in self.hub.branches:
            self._refuse(404, "RepoNotFound")
            return None
        if repository in self.hub.gated:
            self._refuse(403, "GatedRepo")
            return None
        oid = self.hub.branches[repository].get(revision, revision)
        if oid not in self.hub.commits:
            self._refuse(404, "RevisionNotFound")
            return None
        return oid

    def _described(self, oid: str, name: str, key: str) -> dict[str, Any]:
        content = self.hub.commits[oid][name]
        size = self.hub.boasts.get(name, len(content))
        blob = hashlib.sha1(content).hexdigest()
        return {key: name, "size": size, "blobId": blob, "oid": blob, "type": "file"}

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            parts += ["revision", "main"][len(parts) - 4 :]
            oid = self._commit_of("/".join(parts[2:4]), parts[5])
            if oid is None:
                return None
            names = sorted(self.hub.commits[oid])
            if parts[4] == "tree":
                return self._json([self._described(oid, name, "path") for name in names])
            siblings = [self._described(oid, name, "rfilename") for name in names]
            return self._json({"id": "/".join(parts[2:4]), "sha": oid, "siblings": siblings})
        if parts[0] == "api":
            return self._answer(b"{}", 404)
        oid = self._commit_of("/".join(parts[:2]), parts[3])
        if oid is None:
            return None
        name = "/".join(parts[4:])
        if name not in self.hub.commits[oid]:
            return self._refuse(404, "EntryNotFound")
        content = self.hub.commits[oid][name]
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        return self._answer(content, ETag=etag, X_Repo_Commit=oid)

    def do_POST(self) -> None:
        path, body = urlparse(self.path).path, self._body()
        self.hub.asked.append(f"POST {path}")
        if path == "/api/validate-yaml":
            return self._json({"warnings": [], "errors": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(b"{}", 401)
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        repository = "/".join(parts[2:4])
        if parts[4] == "preupload":
            files = [file["path"] for file in json.loads(body)["files"]]
            return self._json(
                {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in files]}
            )
        lines = [json.loads(line) for line in body.splitlines()]
        added = [line["value"] for line in lines if line["key"] == "file"]
        oid = self.hub.commit(repository, {file["path"]: base64.b64decode(file["content"]) for file in added})
        url = f"http://{self.headers['Host']}/{repository}/commit/{oid}"
        return self._json({"success": True, "commitOid": oid, "commitUrl": url})

    def _create(self, asked: dict) -> None:
        repository = f"{asked['organization']}/{asked['name']}"
        url = f"http://{self.headers['Host']}/{repository}"
        if repository in self.hub.branches:
            return self._answer(json.dumps({"url": url}).encode(), 409)
        self.hub.created.append(asked)
        self.hub.branches[repository] = {}
        return self._json({"url": url, "name": repository})


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve in a thread; yields the address."""
    handler: Callable[..., BaseHTTPRequestHandler] = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()

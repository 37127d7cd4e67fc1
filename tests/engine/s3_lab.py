"""A real S3 server (Versity S3 Gateway, built from Go modules) in a lab: signed requests, TLS, objects on a disk."""

import fcntl
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

from tests.engine.database_lab import Authority, Lab, docker, eventually

SOURCES = Path(__file__).parent / "s3_server"
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
BUCKET = "backups"
KEY = "lab-access-key"
SECRET = "lab-secret-key-0123456789"
HOST = "s3.lab.internal"
PORT = 9000


def built() -> Path:
    """The server's binary, built once for each go.sum."""
    digest = hashlib.sha256((SOURCES / "go.sum").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentstack" / "tests"
    cache.mkdir(parents=True, exist_ok=True)
    binary = cache / f"versitygw-{digest}"
    with (cache / "versitygw.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.is_file():
            draft = binary.with_suffix(".draft")
            environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath"}
            command = ["go", "build", "-o", str(draft), PACKAGE]
            subprocess.run(command, cwd=SOURCES, env=environment, check=True, timeout=1200)
            draft.replace(binary)
    return binary


def run_server(name: str, network: str, image: str, authority: Authority) -> None:
    """Run the server as container ``name`` in a network, as ``s3.lab.internal:9000``, with the bucket made.

    Args:
        name: of the container.
        network: Docker's name.
        image: anything with a shell.
        authority: signs its certificate.
    """
    certificate, key = authority.plain_leaf("s3", [HOST])
    docker("create", "--name", name, *_command(name, network, image))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, content, mode in (("tls.crt", certificate, 0o444), ("tls.key", key, 0o400)):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, 999, 999
            tar.addfile(entry, io.BytesIO(content.encode()))
        for folder in ("data", "data/meta", "data/buckets", f"data/buckets/{BUCKET}"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o700, 999, 999
            tar.addfile(entry)
    docker("cp", "-", f"{name}:/srv", stdin=archive.getvalue())
    docker("cp", str(built()), f"{name}:/srv/versitygw")
    docker("start", name)
    await_answer(name)


def _command(name: str, network: str, image: str) -> list[str]:
    words = ["--network", network, "--network-alias", HOST, "--hostname", name[:60], "--user", "999:999"]
    words += ["--cap-drop", "ALL", "-e", f"ROOT_ACCESS_KEY={KEY}", "-e", f"ROOT_SECRET_KEY={SECRET}"]
    words += ["--entrypoint", "/srv/versitygw", image, "--port", f":{PORT}", "--cert", "/srv/tls.crt"]
    words += ["--key", "/srv/tls.key", "--region", "eu-west-1", "posix", "--sidecar", "/srv/data/meta"]
    return [*words, "/srv/data/buckets"]


def await_answer(name: str) -> None:
    """Wait until it takes connections."""
    question = ["exec", name, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{PORT} && echo open"]
    eventually(lambda: "open" in docker(*question, check=False), "the S3 server listens", 30)


class S3Server:
    """The server in a lab's network."""

    def __init__(self, lab: Lab, authority: Authority) -> None:
        self.name = lab.container("s3")
        lab.own(self.name)
        run_server(self.name, lab.name, lab.images["postgres"], authority)

    def stop(self) -> None:
        """End it."""
        docker("stop", "-t", "5", self.name)

    def start(self) -> None:
        """Start it again."""
        docker("start", self.name)
        await_answer(self.name)

    @staticmethod
    def settings(folder: Path, authority: Authority) -> dict[str, object]:
        """`backup.s3` for this server; credential files are written into ``folder``."""
        files = {"key": KEY, "secret": SECRET, "ca": authority.pem}
        for name, text in files.items():
            (folder / name).write_text(text + "\n")
        return {
            "endpoint": f"{HOST}:{PORT}",
            "region": "eu-west-1",
            "bucket": BUCKET,
            "uriStyle": "path",
            "keyFile": str(folder / "key"),
            "secretFile": str(folder / "secret"),
            "caFile": str(folder / "ca"),
        }

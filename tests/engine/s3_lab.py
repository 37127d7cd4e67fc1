"""A real S3 server (Versity S3 Gateway, built from Go modules) in a lab: signed requests, TLS, objects on a disk."""

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

from components.workload import ConfigFile
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


class S3Server:
    """The server in the lab's network, as ``s3.lab.internal:9000``, with the bucket made."""

    def __init__(self, lab: Lab, authority: Authority) -> None:
        self.lab = lab
        self.name = lab.container("s3")
        certificate, key = authority.plain_leaf("s3", [HOST])
        program = lab.volume("s3-program")
        files = {"tls.crt": ConfigFile(certificate, "0444"), "tls.key": ConfigFile(key, "0400")}
        lab.carry(program, "/s3", files, "999:999", {"versitygw": built()})
        self.data = lab.volume("s3-data")
        prepare = f"mkdir -p /data/buckets/{BUCKET} /data/meta && chown -R 999:999 /data"
        toolbox = ["--user", "0:0", "--entrypoint", "/bin/sh", lab.images["postgres"], "-c", prepare]
        docker("run", "--rm", "-v", f"{self.data}:/data", *toolbox)
        words = ["run", "-d", "--name", self.name, "--network", lab.name, "--network-alias", HOST, "--user", "999:999"]
        words += ["--read-only", "--cap-drop", "ALL", "-v", f"{program}:/s3:ro", "-v", f"{self.data}:/data"]
        words += ["-e", f"ROOT_ACCESS_KEY={KEY}", "-e", f"ROOT_SECRET_KEY={SECRET}", "--entrypoint", "/s3/versitygw"]
        words += [lab.images["postgres"], "--port", f":{PORT}", "--cert", "/s3/tls.crt", "--key", "/s3/tls.key"]
        words += ["--region", "eu-west-1", "posix", "--sidecar", "/data/meta", "/data/buckets"]
        lab.own(self.name)
        docker(*words)
        self.await_answer()

    def await_answer(self) -> None:
        """Wait until it takes connections."""
        question = ["exec", self.name, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{PORT} && echo open"]
        eventually(lambda: "open" in docker(*question, check=False), "the S3 server listens", 30)

    def stop(self) -> None:
        """End it."""
        docker("stop", "-t", "5", self.name)

    def start(self) -> None:
        """Start it again."""
        docker("start", self.name)
        self.await_answer()

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

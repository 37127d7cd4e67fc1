"""Compares the lock with the registries, and moves it.

    python -m images.registry verify [--mirror HOST[:PORT]] [--json]
    python -m images.registry update [--mirror HOST[:PORT]] [--dry-run] [--json]

Speaks the registry HTTP API (distribution spec) with anonymous token authentication. Certificates are always
verified; plain http is spoken to loopback only.

Exit codes: 0 the lock holds (or was moved), 1 a reference is broken or the registries could not tell, 2 bad usage.
"""

import argparse
import dataclasses
import hashlib
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final, Literal

from images import IMAGES_DIR, LOCK_FILE
from images.lock import Lock, LockError, Reference, load_lock

TIMEOUT_SECONDS: Final = 15
MANIFEST_LIMIT_BYTES: Final = 4 << 20
PLATFORMS: Final = ("linux/amd64", "linux/arm64")
DEFAULT_HOST: Final = "registry-1.docker.io"
_ACCEPT: Final = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_LOOPBACK: Final = re.compile(r"^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$")

Status = Literal["ok", "moved", "broken", "unknown"]


class RegistryError(Exception):
    """A registry could not be asked; the message says which one and why."""


@dataclass(frozen=True)
class Finding:
    """What a registry says about one reference of the lock.

    ok: the digest exists and the tag means it. moved: the digest exists, the tag means a newer one (no fault).
    broken: the digest does not exist, or is not an image for our platforms. unknown: the registry could not tell.
    """

    name: str
    reference: str
    status: Status
    detail: str


@dataclass(frozen=True)
class Change:
    """A tag of the lock that means another digest today."""

    name: str
    tag: str
    old: str
    new: str


@dataclass(frozen=True)
class Manifest:
    """A manifest as a registry returned it."""

    digest: str
    platforms: tuple[str, ...]


def locate(repository: str, mirror: str | None = None) -> tuple[str, str]:
    """(registry host, path) of a repository; with a mirror its host takes the place of every registry's."""
    host, slash, path = repository.partition("/")
    if not (slash and ("." in host or ":" in host or host == "localhost")):
        host, path = DEFAULT_HOST, repository if slash else f"library/{repository}"
    return mirror or host, path


class Client:
    """Asks registries; keeps the tokens that they hand out."""

    def __init__(self, mirror: str | None = None) -> None:
        """`mirror` is host or host:port; it is asked in place of every registry."""
        self._mirror = mirror
        self._tokens: dict[str, str] = {}

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """The manifest of a tag or digest; None when the registry does not have it.

        Raises:
            RegistryError: the registry could not be reached, refused, or answered with something else.
        """
        host, path = locate(repository, self._mirror)
        scheme = "http" if _LOOPBACK.match(host) else "https"
        url = f"{scheme}://{host}/v2/{path}/manifests/{urllib.parse.quote(reference, safe=':')}"
        body = self._get(url, host, path)
        if body is None:
            return None
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if reference.startswith("sha256:") and digest != reference:
            raise RegistryError(f"{host} answered {path}@{reference} with other content ({digest})")
        try:
            content = json.loads(body)
            entries = content.get("manifests", [])
            platforms = tuple(
                f"{entry['platform']['os']}/{entry['platform']['architecture']}"
                for entry in entries
                if entry.get("platform", {}).get("os") not in (None, "unknown")
            )
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise RegistryError(f"{host} answered {path}:{reference} with something that is no manifest") from error
        return Manifest(digest, platforms)

    def _get(self, url: str, host: str, path: str) -> bytes | None:
        headers = {"Accept": _ACCEPT, "User-Agent": "agentstack-images"}
        for attempt in (1, 2):
            token = self._tokens.get(f"{host}/{path}")
            if token:
                headers["Authorization"] = f"Bearer {token}"
            try:
                return _read(url, headers)
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return None
                if error.code != 401 or attempt == 2:
                    raise RegistryError(f"{host} answered {error.code} for {path}") from error
                self._tokens[f"{host}/{path}"] = self._token(error.headers.get("WWW-Authenticate") or "", host, path)
            except (OSError, HTTPException) as error:
                raise RegistryError(f"{host} can't be reached: {_reason(error)}") from error
        raise AssertionError("unreachable")

    def _token(self, challenge: str, host: str, path: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        fields = dict(_CHALLENGE.findall(rest))
        realm = fields.pop("realm", "")
        realm_host = urllib.parse.urlsplit(realm).netloc
        if scheme.lower() != "bearer" or not realm:
            raise RegistryError(f"{host} wants a login for {path} ({scheme or 'no challenge'})")
        if not realm.startswith("https://") and not _LOOPBACK.match(realm_host):
            raise RegistryError(f"{host} sends logins to {realm}, which is not https")
        query = urllib.parse.urlencode({"service": fields.get("service", ""), "scope": f"repository:{path}:pull"})
        try:
            answer = json.loads(_read(f"{realm}?{query}", {"User-Agent": "agentstack-images"}))
            return str(answer.get("token") or answer["access_token"])
        except (OSError, HTTPException, ValueError, KeyError, AttributeError) as error:
            raise RegistryError(f"{realm_host} gives no token for {path}: {_reason(error)}") from error


def _read(url: str, headers: Mapping[str, str]) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise OSError(f"{url} is no web address")
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310  # the scheme was checked above
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310  # the same
        body: bytes = response.read(MANIFEST_LIMIT_BYTES + 1)
    if len(body) > MANIFEST_LIMIT_BYTES:
        raise OSError(f"the answer is larger than {MANIFEST_LIMIT_BYTES} bytes")
    return body


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or error)


def verify(lock: Lock, mirror: str | None = None) -> list[Finding]:
    """Ask about every reference of the lock; never raises, what could not be asked is a finding `unknown`."""
    client = Client(mirror)
    return [_check(client, name, reference) for name, reference in lock.pulled().items()]


def _check(client: Client, name: str, reference: Reference) -> Finding:
    def finding(status: Status, detail: str) -> Finding:
        return Finding(name, str(reference), status, detail)

    try:
        pinned = client.manifest(reference.name, reference.digest)
        if pinned is None:
            return finding("broken", "the registry does not have this digest")
        missing = [platform for platform in PLATFORMS if platform not in pinned.platforms]
        if missing:
            return finding("broken", f"not an index with {', '.join(missing)}")
        current = client.manifest(reference.name, reference.tag)
    except RegistryError as error:
        return finding("unknown", str(error))
    if current is None:
        return finding("moved", "the tag is gone; the digest still exists")
    if current.digest != reference.digest:
        return finding("moved", f"the tag means {current.digest} today")
    return finding("ok", "the tag means this digest")


def find_changes(lock: Lock, mirror: str | None = None) -> list[Change]:
    """The references whose tag means another digest today.

    Raises:
        RegistryError: one could not be asked, its tag is gone, or the new image lacks a platform.
    """
    client = Client(mirror)
    changes: list[Change] = []
    for name, reference in lock.pulled().items():
        current = client.manifest(reference.name, reference.tag)
        if current is None:
            raise RegistryError(f"{name}: {reference.name}:{reference.tag} does not exist (any more)")
        missing = [platform for platform in PLATFORMS if platform not in current.platforms]
        if missing:
            raise RegistryError(f"{name}: {reference.name}:{reference.tag} lacks {', '.join(missing)}")
        if current.digest != reference.digest:
            changes.append(Change(name, f"{reference.name}:{reference.tag}", reference.digest, current.digest))
    return changes


def update(path: Path = LOCK_FILE, mirror: str | None = None, *, write: bool = True) -> list[Change]:
    """Move every digest of the lock to what its tag means today, in the Dockerfiles that name a base too.

    Raises:
        RegistryError: see `find_changes`; nothing is written then.
    """
    changes = find_changes(load_lock(path), mirror)
    if not write or not changes:
        return changes
    text = path.read_text()
    dockerfiles = {file: file.read_text() for file in IMAGES_DIR.glob("*/Dockerfile")}
    for old, new in {change.old: change.new for change in changes}.items():
        text = text.replace(old, new)
        dockerfiles = {file: content.replace(old, new) for file, content in dockerfiles.items()}
    path.write_text(text)
    for file, content in dockerfiles.items():
        if content != file.read_text():
            file.write_text(content)
    load_lock(path)
    return changes


def _verify_command(mirror: str | None, as_json: bool, say: Callable[[str], None]) -> int:
    findings = verify(load_lock(), mirror)
    if as_json:
        say(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            say(f"{finding.status:8} {finding.name:20} {finding.reference}\n{'':9}{finding.detail}")
    if all(finding.status == "unknown" for finding in findings):
        print("error: could not tell: no registry answered. Check the network, or name a --mirror.", file=sys.stderr)
    return 0 if all(finding.status in ("ok", "moved") for finding in findings) else 1


def _update_command(mirror: str | None, as_json: bool, write: bool, say: Callable[[str], None]) -> int:
    changes = update(mirror=mirror, write=write)
    if as_json:
        say(json.dumps([dataclasses.asdict(change) for change in changes], indent=2))
        return 0
    for change in changes:
        say(f"{change.name}: {change.tag}\n  - {change.old}\n  + {change.new}")
    if not changes:
        say("every tag still means its pinned digest: nothing to do")
    elif not write:
        say("nothing was written (--dry-run)")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m images.registry", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("command", choices=("verify", "update"))
    parser.add_argument("--mirror", metavar="HOST[:PORT]", help="ask this registry in place of all others")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--dry-run", action="store_true", help="with update: show, don't write")
    options = parser.parse_args(arguments)
    try:
        if options.command == "verify":
            return _verify_command(options.mirror, options.json, print)
        return _update_command(options.mirror, options.json, not options.dry_run, print)
    except RegistryError as error:
        print(f"error: could not tell: {error}; the lock is unchanged", file=sys.stderr)
        return 1
    except LockError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""Do the configuration volumes hold what was declared? Read through their carriers, compared by hash."""

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping

from agentstack.drift.declared import Declared, DeclaredContainer, File
from agentstack.drift.finding import Finding
from agentstack.drift.kinds import Kind
from components.names import CONFIG_DIR, LIVE_DIR, Role
from components.runtime import content_hash


def files_in(archive: bytes, base: str) -> dict[str, File]:
    """The files of a directory's tar (`docker cp`), by their path in the container."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.isdir():
                continue
            handle = tar.extractfile(member) if member.isfile() else None
            path = f"{base}/{member.name.split('/', 1)[-1]}"
            content = handle.read().decode(errors="surrogateescape") if handle else f"[{member.type!r}]"
            found[path] = File(content, f"{member.mode & 0o7777:04o}", f"{member.uid}:{member.gid}")
    return found


def digest(files: Mapping[str, File], base: str, image: str) -> str:
    """The hash of a volume's files, made as the runtime makes it; empty when they can't be what any carrier brought."""
    owners = {file.owner for file in files.values()}
    if len(owners) != 1 or any(not file.content for file in files.values()):
        return ""
    contents = {path.removeprefix(f"{base}/"): file.content for path, file in files.items()}
    modes = {path.removeprefix(f"{base}/"): file.mode for path, file in files.items()}
    return content_hash(contents, modes, f"{owners.pop()} {image}")


def difference(expected: Mapping[str, File], actual: Mapping[str, File]) -> str:
    """Which files differ, without a word of their contents."""
    told = [f"{path} is missing" for path in sorted(set(expected) - set(actual))]
    told += [f"{path} was added" for path in sorted(set(actual) - set(expected))]
    for path in sorted(set(expected) & set(actual)):
        declared, found = expected[path], actual[path]
        if declared.content != found.content:
            told.append(f"{path} has other contents")
        elif (declared.mode, declared.owner) != (found.mode, found.owner):
            told.append(f"{path} is {found.mode} {found.owner} instead of {declared.mode} {declared.owner}")
    return "; ".join(told)


def of_carrier(carrier: DeclaredContainer, archive: bytes, declared: Declared) -> Iterator[Finding]:
    """The files of one carrier's volume against the hash in the carrier's name."""
    base = LIVE_DIR if carrier.role == Role.LIVE else CONFIG_DIR
    actual = files_in(archive, base)
    wanted = carrier.name.rsplit("-", 1)[-1]
    found = digest(actual, base, carrier.image)
    if found == wanted:
        return
    volume = carrier.mounts.get(base, carrier.name)
    yield Finding(
        Kind.CONFIG_CONTENT,
        volume,
        f"files with the hash {wanted}",
        difference(carrier.files, actual) or f"files with the hash {found or 'of nothing'}",
        None,
        "make volume, carrier and service again",
        carrier.urn,
        details={"volume": volume, "volume_urn": declared.volumes.get(volume), "carrier": carrier.name},
    )


def findings(declared: Declared, read: Callable[[str, str], bytes | None]) -> Iterator[Finding]:
    """What every carrier's volume says.

    Args:
        read: (container, directory) -> its tar, or None when the container is not there.
    """
    for container in declared.containers:
        if not container.carries:
            continue
        archive = read(container.id, LIVE_DIR if container.role == Role.LIVE else CONFIG_DIR)
        if archive is not None:
            yield from of_carrier(container, archive, declared)

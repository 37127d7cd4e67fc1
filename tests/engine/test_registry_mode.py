"""`imageSource: registry` on a real engine: pulled by digest through a mirror, our own images built within `pulumi up`.

The mirror is a registry on loopback that holds local builds under the mirrored paths; a lock of the test has their
digests. The project is a checkout of its own (a copy of components/ and images/), so that a second one can be compared.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.images import recipe_hash
from images.build import build_all
from images.lock import load_lock
from tests.e2e.stack import docker, inspect, poll
from tests.engine.mini import Project, built_images, project
from tools.layout import ROOT

pytestmark = pytest.mark.engine

PROGRAM = """
import json
from pathlib import Path

import pulumi

from components.context import Context
from components.contributions import ScrapeCredential
from components.docker_proxy import DockerProxy
from components.engine import inspect_engine
from components.images import ImageSet
from components.networks import Networks
from components.runtime import ContainerRuntime
from components.secrets import Secrets
from components.settings import load_settings
from components.trust import CertificateAuthority
from images.lock import load_lock

here = Path(__file__).parent
settings = load_settings(json.loads((here / "settings.json").read_text()))
stack = pulumi.get_stack()
images = ImageSet("images", load_lock(here / "lock.json"), settings)
networks = Networks("networks", stack, settings)
runtime = ContainerRuntime(
    "runtime", stack=stack, bind_address="127.0.0.1", networks=networks, probe_image=images["probe"],
    toolbox_image=images["postgres"], engine=inspect_engine(stack),
)
nothing = pulumi.Output.from_input("")
scrape = ScrapeCredential(username="nobody", password=nothing, bcrypt_hash=nothing)
DockerProxy("docker-proxy", Context(
    stack=stack, settings=settings, runtime=runtime, ca=CertificateAuthority("ca", stack), secrets=Secrets("secrets"),
    images=images, scrape=scrape,
))
"""
PULLED = "haproxy"
BUILT = ("probe", "postgres")
NO_CHANGES = "--expect-no-changes"
MARK = "io.agentstack.test"
"""A label that only images of this test have."""


@dataclass(frozen=True)
class Mirror:
    """The registry: its address, and the digest of each repository in it."""

    address: str
    digests: dict[str, str]


def push(source: str, reference: str) -> str:
    """Push an image that nobody else has; it is then in the registry alone. Returns its digest."""
    docker("build", "--quiet", "--tag", reference, "-", text=f"FROM {source}\nLABEL {MARK}=mirror\n", timeout=120)
    told = docker("push", reference, timeout=300)
    docker("image", "rm", reference)
    found = re.search(r"digest: (sha256:[0-9a-f]{64})", told)
    assert found, told
    return found[1]


@pytest.fixture(scope="module")
def mirror() -> Iterator[Mirror]:
    """A registry on loopback with HAProxy, and PostgreSQL as the base of the images that are ours."""
    image = build_all(["registry"], print)["registry"].id
    name = f"h-t{os.getpid():x}-registry"
    docker("run", "--detach", "--name", name, "--publish", "127.0.0.1::5000", image)
    try:
        address = docker("port", name, "5000/tcp").strip()
        poll(lambda: httpx.get(f"http://{address}/v2/", trust_env=False).status_code == httpx.codes.OK, 30, "registry")
        lock, local = entries(), built_images()
        yield Mirror(
            address,
            {
                "haproxy": push(local["haproxy"], f"{address}/library/haproxy:{lock['haproxy']['tag']}"),
                "postgres": push(local["postgres"], f"{address}/library/postgres:{lock['postgres']['base']['tag']}"),
            },
        )
    finally:
        docker("rm", "--force", "--volumes", name)


def entries() -> dict[str, dict[str, Any]]:
    """The product's own lock, as data."""
    found: dict[str, dict[str, Any]] = json.loads((ROOT / "images" / "lock.json").read_text())["entries"]
    return found


def write_lock(root: Path, haproxy: str, base: str) -> None:
    """A lock of the three images with the digests of the mirror."""
    chosen = {key: entries()[key] for key in (PULLED, *BUILT)}
    chosen[PULLED]["digest"] = haproxy
    for key in BUILT:
        chosen[key]["base"]["digest"] = base
    (root / "lock.json").write_text(json.dumps({"entries": chosen}))


def checkout(root: Path) -> Path:
    """A copy of what the program imports and builds from."""
    for folder in ("components", "images"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def stack(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, up: its first `up` is run from a folder below, as people do."""
    root = checkout(tmp_path_factory.mktemp("registry") / "checkout")
    settings = {"imageSource": "registry", "registryMirror": mirror.address}
    with project(root, f"t{os.getpid():x}reg", PROGRAM, settings, checkout=root) as made:
        write_lock(root, mirror.digests["haproxy"], mirror.digests["postgres"])
        made.up(cwd=root / "components")
        try:
            yield made
        finally:
            made.clear()
            docker("image", "rm", images_of(made)["probe"]["name"])
            made_here = docker("images", "--quiet", "--filter", f"label={MARK}").split()
            docker("image", "rm", "--force", *dict.fromkeys(made_here))


def images_of(stack: Project) -> dict[str, dict[str, Any]]:
    """The state's images: key of the lock -> what Pulumi knows of it."""
    state = json.loads(stack.pulumi("stack", "export").stdout)
    return {
        resource["urn"].rsplit("::image-", 1)[1]: {**resource["inputs"], **resource["outputs"]}
        for resource in state["deployment"]["resources"]
        if resource["type"] == "docker:index/remoteImage:RemoteImage"
    }


def test_what_runs_was_pulled_by_digest_through_the_mirror(stack: Project, mirror: Mirror) -> None:
    known = images_of(stack)[PULLED]
    reference = f"{mirror.address}/library/haproxy:{entries()['haproxy']['tag']}@{mirror.digests['haproxy']}"
    assert known["name"] == reference
    runs = inspect(stack.name("docker-proxy"))
    assert runs["Image"] == known["imageId"] == runs["Config"]["Image"]
    image = json.loads(docker("image", "inspect", runs["Image"]))[0]
    assert f"{mirror.address}/library/haproxy@{mirror.digests['haproxy']}" in image["RepoDigests"]
    assert image["Config"]["Labels"][MARK] == "mirror", "not the local build, which is here too"
    assert runs["State"]["Health"]["Status"] == "healthy"


@pytest.mark.parametrize("key", BUILT)
def test_our_own_images_are_built_on_the_mirrors_base(stack: Project, mirror: Mirror, key: str) -> None:
    known = images_of(stack)[key]
    base = f"{mirror.address}/library/postgres:{entries()[key]['base']['tag']}@{mirror.digests['postgres']}"
    assert known["build"]["context"] == f"images/{key}", "relative: the same in every checkout"
    assert known["build"]["buildArgs"] == {"BASE": base}
    users = {"probe": "probe", "postgres": "docker-proxy-socket-init"}
    container = next(name for name in stack.started() if users[key] in name)
    assert inspect(container)["Image"] == known["imageId"]


def test_the_built_postgresql_has_its_extensions_and_the_probe_runs(stack: Project) -> None:
    listed = docker(
        *("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", images_of(stack)["postgres"]["imageId"]),
        *("-c", "ls /usr/share/postgresql/17/extension/ && pgbackrest version && python3 --version"),
    )
    assert {"vector.control", "pgaudit.control", "pg_stat_statements.control"} <= set(listed.split())
    assert "pgBackRest" in listed
    assert docker("run", "--rm", "--network", "none", images_of(stack)["probe"]["imageId"]).strip()


def test_nothing_has_changed_for_a_second_up_a_refresh_or_another_checkout(
    stack: Project, tmp_path: Path, mirror: Mirror
) -> None:
    before = stack.started()
    stack.pulumi("up", "--yes", "--skip-preview", NO_CHANGES)
    stack.pulumi("refresh", "--preview-only", NO_CHANGES)
    stack.pulumi("preview", "--refresh", NO_CHANGES)
    other = checkout(tmp_path / "elsewhere")
    for file in ("Pulumi.yaml", f"Pulumi.{stack.stack}.yaml", "__main__.py", "settings.json", "lock.json"):
        shutil.copy2(stack.root / file, other / file)
    moved = Project(other, stack.stack, other, home=stack.root)
    moved.pulumi("preview", NO_CHANGES)
    assert stack.started() == before


@pytest.mark.parametrize("what", [PULLED, "base"])
def test_a_wrong_digest_fails_and_changes_nothing(stack: Project, mirror: Mirror, what: str) -> None:
    before = stack.started()
    wrong = f"sha256:{'0' * 64}"
    haproxy, base = mirror.digests["haproxy"], mirror.digests["postgres"]
    write_lock(stack.root, wrong if what == PULLED else haproxy, wrong if what == "base" else base)
    try:
        told = stack.refused()
    finally:
        write_lock(stack.root, haproxy, base)
    assert wrong in told
    assert "manifest unknown" in told or "not found" in told
    assert stack.started() == before
    stack.pulumi("up", "--yes", "--skip-preview", NO_CHANGES)


def test_another_mirror_of_the_same_digests_restarts_nothing(stack: Project, mirror: Mirror) -> None:
    before = stack.started()
    settings = stack.settings
    port = mirror.address.rsplit(":", 1)[1]
    (stack.root / "settings.json").write_text(json.dumps({**settings, "registryMirror": f"localhost:{port}"}))
    try:
        stack.up()
        assert images_of(stack)[PULLED]["name"].startswith(f"localhost:{port}/library/haproxy:")
    finally:
        (stack.root / "settings.json").write_text(json.dumps(settings))
    assert stack.started() == before


@pytest.mark.parametrize("key", BUILT)
def test_the_same_recipe_on_another_base_has_another_name(stack: Project, key: str) -> None:
    """Stacks of one engine whose locks differ must not move each other's tags: a refresh would show that as drift."""
    context = ROOT / "images" / key
    own = load_lock(stack.root / "lock.json").base_reference(key)
    assert images_of(stack)[key]["name"] == f"agentstack/{key}:{recipe_hash(context, own)}"
    assert recipe_hash(context, load_lock().base_reference(key)) != recipe_hash(context, own)


def test_a_changed_recipe_makes_the_image_anew(stack: Project) -> None:
    before = images_of(stack)
    dockerfile = stack.root / "images" / "postgres" / "Dockerfile"
    dockerfile.write_text(f"{dockerfile.read_text()}LABEL {MARK}=changed\n")
    stack.up()
    after = images_of(stack)
    assert after["postgres"]["name"] != before["postgres"]["name"]
    assert after["postgres"]["imageId"] != before["postgres"]["imageId"]
    assert after["probe"]["imageId"] == before["probe"]["imageId"]
    assert inspect(stack.name("docker-proxy-socket-init"))["Image"] == after["postgres"]["imageId"]

"""The images: the lock is pinned and whole, recipes have stable keys, builds are reused, registries are compared.

Decided here without Docker or a network: a fake engine stands in for Docker, and a fake registry (this module's
own, on loopback) for the real ones.
"""

import hashlib
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from images import IMAGES_DIR, PROJECT_DIR, build, debian, engine, golang, recipes, registry
from images.lock import LockError, load_lock
from images.shell import BuildError, Step

pytestmark = pytest.mark.unit

SERVICES = {
    "postgres", "probe", "phoenix", "collector", "haproxy", "pgbouncer", "prometheus", "alertmanager", "grafana",
    "postgres-exporter", "node-exporter", "blackbox-exporter",
}  # fmt: skip


# --- the lock -----------------------------------------------------------------


def test_the_lock_names_every_image_and_pins_what_is_pulled() -> None:
    lock = load_lock()
    assert set(lock.entries) == SERVICES
    for name, entry in lock.entries.items():
        if entry.built:
            assert re.fullmatch(r"[^@]+:[^@]+@sha256:[0-9a-f]{64}", lock.base_reference(name))
        else:
            assert lock.reference(name) == f"{entry.name}:{entry.tag}@{entry.digest}"
        assert entry.tag != "latest"


def test_only_grafana_is_a_stand_in_and_every_local_build_states_its_differences() -> None:
    lock = load_lock()
    assert [name for name, entry in lock.entries.items() if entry.stand_in] == ["grafana"]
    for name, entry in lock.entries.items():
        assert entry.differences, f"{name} lists no difference to upstream"
        assert all(sentence.endswith(".") for sentence in entry.differences)


def test_every_entry_has_its_recipe_and_its_context() -> None:
    for entry in load_lock().entries.values():
        assert entry.recipe in recipes.recipe_names()
        if entry.context is not None:
            assert (PROJECT_DIR / entry.context / "Dockerfile").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digest": "sha256:" + "a" * 63}, "entries.phoenix.digest"),
        ({"digest": "sha256:" + "A" * 64}, "entries.phoenix.digest"),
        ({"digest": None}, "can change under the same name"),
        ({"colour": "red"}, "entries.phoenix.colour"),
        ({"built": True}, "needs `base` and `context`"),
        ({"name": "Upper/Case"}, "entries.phoenix.name"),
    ],
)
def test_a_broken_lock_is_refused_with_its_place(tmp_path: Path, change: dict[str, object], message: str) -> None:
    content = json.loads((IMAGES_DIR / "lock.json").read_text())
    content["entries"]["phoenix"].update(change)
    path = tmp_path / "lock.json"
    path.write_text(json.dumps(content))
    with pytest.raises(LockError, match=re.escape(message)):
        load_lock(path)


def test_what_is_built_has_no_reference_to_pull() -> None:
    with pytest.raises(LockError, match="is built from images/postgres"):
        load_lock().reference("postgres")
    with pytest.raises(LockError, match="no image 'nginx'"):
        load_lock().reference("nginx")


# --- Dockerfiles and documentation --------------------------------------------


@pytest.mark.parametrize("path", sorted(IMAGES_DIR.rglob("Dockerfile")), ids=lambda path: path.parent.name)
def test_dockerfiles_are_pinned_non_root_and_leave_no_package_lists(path: Path) -> None:
    text = path.read_text()
    for source in re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE):
        assert source in ("scratch", "${BASE}"), f"{source}: only the build argument BASE or nothing to start from"
    runs = text.replace("\\\n", " ").splitlines()
    for run in [line for line in runs if line.startswith("RUN ") and "apt-get install" in line]:
        assert "--no-install-recommends" in run
        assert "rm -rf /var/lib/apt/lists/*" in run
    # PostgreSQL's entry point starts as root and leaves it; the probe's image never runs, it fills a volume.
    if path.parent.name not in ("postgres", "probe"):
        user = re.findall(r"^USER (\S+)", text, flags=re.MULTILINE)
        assert user
        assert re.fullmatch(r"[1-9][0-9]*:[0-9]+", user[-1])


@pytest.mark.parametrize("name", ["postgres", "probe"])
def test_dockerfiles_of_built_images_default_to_the_locks_base(name: str) -> None:
    text = (IMAGES_DIR / name / "Dockerfile").read_text()
    assert f"ARG BASE={load_lock().base_reference(name)}\n" in text


def test_no_package_source_is_written_down() -> None:
    """Local builds use the host's own sources: none of them may get into a recipe."""
    hosts = re.compile(r"deb\.debian\.org|security\.debian\.org|proxy\.golang\.org|pypi\.org|registry\.npmjs")
    for path in IMAGES_DIR.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert not hosts.search(path.read_text(errors="replace")), path


def test_the_readme_lists_every_difference_of_the_lock() -> None:
    text = (IMAGES_DIR / "README.md").read_text()
    table = text.split("<!-- differences -->")[1]
    expected = [
        f"| {name} | {sentence} |" for name, entry in load_lock().entries.items() for sentence in entry.differences
    ]
    assert [line for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:] == expected


def test_the_phoenix_wheels_are_the_locks_version_and_hashed() -> None:
    text = (IMAGES_DIR / "local" / "phoenix" / "requirements.txt").read_text()
    assert f"\narize-phoenix=={load_lock().entries['phoenix'].version} \\" in text
    blocks = [block for block in re.split(r"\n(?=\S)", text) if "==" in block]
    assert len(blocks) > 100
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize(
    ("name", "module", "prefix"),
    [
        ("prometheus", "github.com/prometheus/prometheus", "0.3"),
        ("node-exporter", "github.com/prometheus/node_exporter", ""),
        ("blackbox-exporter", "github.com/prometheus/blackbox_exporter", ""),
        ("collector", "go.opentelemetry.io/collector/otelcol", ""),
    ],
)
def test_go_recipes_build_the_locks_version(name: str, module: str, prefix: str) -> None:
    """Prometheus 3.15.0 is module version v0.315.0: `0.3` and the rest of the version without its dot."""
    version = load_lock().entries[name].version
    wanted = f"0.{version.split('.')[0]}{int(version.split('.')[1]):02d}.{version.split('.')[2]}" if prefix else version
    text = (IMAGES_DIR / "local" / name / "go.mod").read_text()
    assert re.search(
        rf"^\s*(require )?{re.escape(module)} v{re.escape(wanted)}( // indirect)?$", text, flags=re.MULTILINE
    )


@pytest.mark.parametrize("module", ["probe", "local/grafana"])
@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go: the programs' own tests are Go tests")
def test_our_go_programs_pass_their_own_tests(module: str) -> None:
    command = ["go", "test", "-count=1", "./..."]
    done = subprocess.run(command, cwd=IMAGES_DIR / module, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


# --- recipes and keys ---------------------------------------------------------


def test_a_key_changes_with_the_recipe_the_base_and_the_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "LOCAL_DIR", tmp_path / "local")
    monkeypatch.setattr(recipes, "IMAGES_DIR", tmp_path)
    for name, text in {"base": '{"base": null}', "app": "{}"}.items():
        (tmp_path / "local" / name).mkdir(parents=True)
        (tmp_path / "local" / name / "recipe.json").write_text(text)
    dockerfile = tmp_path / "local" / "app" / "Dockerfile"
    dockerfile.write_text("FROM scratch\n")
    seen = [recipes.recipe_key("app", "amd64")]
    assert recipes.recipe_key("app", "amd64") == seen[0]
    seen.append(recipes.recipe_key("app", "arm64"))
    dockerfile.write_text("FROM scratch\nUSER 1:1\n")
    seen.append(recipes.recipe_key("app", "amd64"))
    dockerfile.chmod(0o755)
    seen.append(recipes.recipe_key("app", "amd64"))
    (tmp_path / "local" / "base" / "extra").write_text("x")
    seen.append(recipes.recipe_key("app", "amd64"))
    assert len(set(seen)) == len(seen)
    (tmp_path / "local" / "app" / "README.md").write_text("words do not change what is built")
    assert recipes.recipe_key("app", "amd64") == seen[-1]


def test_the_probes_source_is_part_of_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipes.recipe_key("probe", "amd64")
    read = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda self: read(self) + (b"//" if self.name == "restart.go" else b""), raising=True
    )
    assert recipes.recipe_key("probe", "amd64") != before


def test_an_unknown_recipe_is_named_with_the_known_ones() -> None:
    with pytest.raises(BuildError, match=r"no image recipe 'nginx'[^$]*choose from: .*phoenix"):
        recipes.load_recipe("nginx")


# --- Debian sources -----------------------------------------------------------


def test_debian_sources_are_read_in_both_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(debian.MIRROR_VARIABLE, raising=False)
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "other.list").write_text("deb [signed-by=/x] https://tools.example/apt tools main\n")
    (folder / "debian.sources").write_text(
        "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\nComponents: main\n"
        "\nTypes: deb\nURIs: http://mirror.example/security\nSuites: trixie-security\nComponents: main\n"
    )
    expected = debian.DebianSources("http://mirror.example/debian", "http://mirror.example/security")
    assert debian.read_sources(tmp_path) == expected
    (folder / "debian.sources").unlink()
    (tmp_path / "sources.list").write_text(
        "# deb http://old.example/debian bookworm main\n"
        "deb [arch=amd64] http://mirror.example/debian bookworm main contrib\n"
        "deb http://mirror.example/security bookworm-security main\n"
    )
    assert debian.read_sources(tmp_path) == expected


def test_a_host_without_a_debian_archive_is_told_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(debian.MIRROR_VARIABLE, raising=False)
    (tmp_path / "sources.list").write_text("deb http://archive.example/ubuntu noble main\n")
    with pytest.raises(BuildError, match="AGENTSTACK_DEBIAN_MIRROR"):
        debian.read_sources(tmp_path)
    monkeypatch.setenv(debian.MIRROR_VARIABLE, "https://mirror.example/debian")
    assert debian.read_sources(tmp_path).main == "https://mirror.example/debian"


def test_missing_programs_are_asked_for_where_we_are_not_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    which = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr("shutil.which", lambda name, **_: which.get(name))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "missing")
    with pytest.raises(BuildError, match="sudo apt-get install mmdebstrap zstd debian-archive-keyring"):
        debian.ensure_packages(Step("base", tmp_path / "log", print))
    which.clear()
    with pytest.raises(BuildError, match="imageSource: registry"):
        debian.ensure_packages(Step("base", tmp_path / "log", print))


# --- building -----------------------------------------------------------------


class FakeEngine:
    """Docker as far as the builder knows it: tags with ids, and what was asked of it."""

    def __init__(self, built_file: Path) -> None:
        self.built_file = built_file
        self.images: dict[str, str] = {}
        self.asked: list[str] = []

    def build(self, context: Path, tag: str, args: dict[str, str], step: Step, *, fresh: bool) -> None:
        self.asked.append(f"build {tag} on {args.get('BASE', 'nothing')}")
        assert (context / "Dockerfile").is_file()
        self.images[tag] = f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}"

    def save(self, tag: str, target: Path, step: Step) -> None:
        target.write_text(tag)

    def load(self, source: Path, step: Step) -> None:
        tag = source.read_text()
        self.asked.append(f"load {tag}")
        self.images[tag] = f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}"

    def import_root(self, tar: Path, tag: str, step: Step) -> None:
        self.asked.append(f"import {tag}")
        self.images[tag] = f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    found = FakeEngine(tmp_path / "state" / "images.json")
    for name in ("build", "save", "load", "import_root"):
        monkeypatch.setattr(engine, name, getattr(found, name))
    monkeypatch.setattr(engine, "architecture", lambda: "amd64")
    monkeypatch.setattr(
        engine, "image_ids", lambda tags: {tag: found.images[tag] for tag in tags if tag in found.images}
    )
    monkeypatch.setattr(debian, "ensure_packages", lambda step: None)
    monkeypatch.setattr(debian, "make_root", lambda *_: None)
    monkeypatch.setattr(golang, "compile_programs", lambda *_: None)
    monkeypatch.setattr(build, "BUILT_FILE", found.built_file)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


def silent(line: str) -> None:
    """Progress that nobody reads."""


def test_images_are_built_once_and_written_down(fake: FakeEngine) -> None:
    built = build.build_all(["haproxy", "grafana"], silent)
    assert sorted(line.split(":")[0] for line in fake.asked) == [
        "build agentstack/grafana-stand-in", "build agentstack/haproxy", "import agentstack/base",
    ]  # fmt: skip
    written = json.loads(fake.built_file.read_text())
    assert written["haproxy"] == {
        "id": built["haproxy"].id,
        "recipe": built["haproxy"].key,
        "tag": f"agentstack/haproxy:{built['haproxy'].key[:16]}",
        "stand_in": False,
    }
    assert written["grafana"]["stand_in"] is True
    assert fake.built_file.stat().st_mode & 0o777 == 0o600
    assert fake.built_file.parent.stat().st_mode & 0o777 == 0o700
    fake.asked.clear()
    assert build.build_all(["haproxy", "grafana"], silent) == built
    assert fake.asked == []


def test_an_engine_that_lost_its_images_gets_them_from_the_cache(fake: FakeEngine) -> None:
    built = build.build_all(["haproxy"], silent)
    fake.images.clear()
    fake.asked.clear()
    assert build.build_all(["haproxy"], silent) == built
    assert fake.asked == [f"load {built['haproxy'].tag}"]


def test_a_rebuild_is_a_rebuild(fake: FakeEngine) -> None:
    build.build_all(["haproxy"], silent)
    fake.asked.clear()
    build.build_all(["haproxy"], silent, rebuild=True)
    assert [line.split()[0] for line in fake.asked] == ["import", "build"]


def test_one_failure_keeps_what_was_built(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: Path, tag: str, args: dict[str, str], step: Step, *, fresh: bool) -> None:
        if "haproxy" in tag:
            raise BuildError("haproxy: building the image failed (exit 1).", "see the log")
        fake.build(context, tag, args, step, fresh=fresh)

    monkeypatch.setattr(engine, "build", broken)
    with pytest.raises(BuildError, match="haproxy: building the image failed"):
        build.build_all(["probe", "haproxy", "postgres"], silent, jobs=1)
    assert "probe" in json.loads(fake.built_file.read_text())


def test_the_default_is_what_a_stack_runs(fake: FakeEngine) -> None:
    assert set(build.default_names()) == SERVICES


def test_a_failing_step_says_what_where_and_what_to_do(tmp_path: Path) -> None:
    step = Step("app", tmp_path / "app.log", silent)
    with pytest.raises(BuildError) as failure:
        step.run(["sh", "-c", "echo no space left >&2; exit 3"], what="building", remedy="free some space")
    text = str(failure.value)
    assert "app: building failed (exit 3)" in text
    assert "no space left" in text
    assert "what to do: free some space" in text


# --- registries ---------------------------------------------------------------


class FakeRegistry(ThreadingHTTPServer):
    """A fake registry on loopback: manifests by tag and digest, behind anonymous tokens."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeRegistryHandler)
        self.manifests: dict[str, bytes] = {}
        self.refuses_tokens = False

    @property
    def host(self) -> str:
        """host:port, as a mirror is named."""
        return f"127.0.0.1:{self.server_address[1]}"

    def push(self, path: str, tag: str, platforms: tuple[str, ...] = registry.PLATFORMS) -> str:
        """Serve an index under a tag and its digest; returns the digest."""
        entries = [
            {"digest": f"sha256:{'0' * 64}", "platform": {"os": system, "architecture": machine}}
            for system, machine in (name.split("/") for name in platforms)
        ]
        body = json.dumps({"schemaVersion": 2, "path": path, "tag": tag, "manifests": entries}).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.manifests[f"/v2/{path}/manifests/{tag}"] = body
        self.manifests[f"/v2/{path}/manifests/{digest}"] = body
        return digest


class FakeRegistryHandler(BaseHTTPRequestHandler):
    server: FakeRegistry

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/token":
            scope = re.search(r"scope=repository%3A([^&]*)%3Apull", query)
            refused = self.server.refuses_tokens or scope is None
            self._answer(403 if refused else 200, json.dumps({"token": f"for {scope and scope.group(1)}"}).encode())
        elif not str(self.headers.get("Authorization", "")).startswith("Bearer for "):
            self._answer(401, b"{}")
        elif path in self.server.manifests:
            self._answer(200, self.server.manifests[path])
        else:
            self._answer(404, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 401:
            realm = f"http://{self.server.host}/token"
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="fake",scope="ignored"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Say nothing."""


@pytest.fixture
def fake_registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def small_lock(tmp_path: Path, fake_registry: FakeRegistry) -> Path:
    """A lock of one pulled and one built image whose digests the fake registry has."""
    content = json.loads((IMAGES_DIR / "lock.json").read_text())
    entries = {name: content["entries"][name] for name in ("haproxy", "postgres", "postgres-exporter")}
    entries["haproxy"]["digest"] = fake_registry.push("library/haproxy", entries["haproxy"]["tag"])
    entries["postgres"]["base"]["digest"] = fake_registry.push("library/postgres", entries["postgres"]["base"]["tag"])
    exporter = entries["postgres-exporter"]
    exporter["digest"] = fake_registry.push("prometheuscommunity/postgres-exporter", exporter["tag"])
    path = tmp_path / "lock.json"
    path.write_text(json.dumps({"entries": entries}, indent=2) + "\n")
    return path


def statuses(findings: list[registry.Finding]) -> dict[str, str]:
    """{name: status}."""
    return {finding.name: finding.status for finding in findings}


def test_repositories_are_found_at_their_registries() -> None:
    assert registry.locate("haproxy") == (registry.DEFAULT_HOST, "library/haproxy")
    assert registry.locate("prom/prometheus") == (registry.DEFAULT_HOST, "prom/prometheus")
    assert registry.locate("quay.io/a/b") == ("quay.io", "a/b")
    assert registry.locate("localhost:5000/a") == ("localhost:5000", "a")
    assert registry.locate("quay.io/a/b", "mirror:5000") == ("mirror:5000", "a/b")


def test_verify_finds_what_holds(fake_registry: FakeRegistry, small_lock: Path) -> None:
    findings = registry.verify(load_lock(small_lock), fake_registry.host)
    assert statuses(findings) == {"haproxy": "ok", "postgres (base)": "ok", "postgres-exporter": "ok"}


def test_verify_finds_what_moved_and_what_is_broken(fake_registry: FakeRegistry, small_lock: Path) -> None:
    lock = load_lock(small_lock)
    moved = fake_registry.push("library/haproxy", lock.entries["haproxy"].tag, (*registry.PLATFORMS, "linux/riscv64"))
    base = lock.entries["postgres"].base
    assert base is not None
    del fake_registry.manifests[f"/v2/library/postgres/manifests/{base.digest}"]
    findings = registry.verify(lock, fake_registry.host)
    assert statuses(findings) == {"haproxy": "moved", "postgres (base)": "broken", "postgres-exporter": "ok"}
    assert moved in findings[0].detail


def test_a_digest_of_one_platform_alone_is_broken(fake_registry: FakeRegistry, small_lock: Path) -> None:
    content = json.loads(small_lock.read_text())
    haproxy = content["entries"]["haproxy"]
    haproxy["digest"] = fake_registry.push("library/haproxy", haproxy["tag"], ("linux/amd64",))
    small_lock.write_text(json.dumps(content))
    findings = registry.verify(load_lock(small_lock), fake_registry.host)
    assert findings[0].status == "broken"
    assert "linux/arm64" in findings[0].detail


def test_content_that_does_not_match_its_digest_is_not_believed(fake_registry: FakeRegistry, small_lock: Path) -> None:
    lock = load_lock(small_lock)
    fake_registry.manifests[f"/v2/library/haproxy/manifests/{lock.entries['haproxy'].digest}"] = b"{}"
    findings = registry.verify(lock, fake_registry.host)
    assert findings[0].status == "unknown"
    assert "other content" in findings[0].detail


def test_update_moves_the_lock_and_nothing_else(
    fake_registry: FakeRegistry, small_lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_lock(small_lock)
    base = before.entries["postgres"].base
    assert base is not None
    (tmp_path / "postgres").mkdir()
    dockerfile = tmp_path / "postgres" / "Dockerfile"
    dockerfile.write_text(f"ARG BASE={base}\n")
    monkeypatch.setattr(registry, "IMAGES_DIR", tmp_path)
    new = fake_registry.push("library/postgres", base.tag, (*registry.PLATFORMS, "linux/s390x"))

    assert registry.update(small_lock, fake_registry.host, write=False) == [
        registry.Change("postgres (base)", f"postgres:{base.tag}", base.digest, new)
    ]
    assert load_lock(small_lock) == before
    registry.update(small_lock, fake_registry.host)
    after = load_lock(small_lock)
    assert after.base_reference("postgres") == f"postgres:{base.tag}@{new}"
    assert after.entries["haproxy"] == before.entries["haproxy"]
    assert dockerfile.read_text() == f"ARG BASE=postgres:{base.tag}@{new}\n"
    assert registry.update(small_lock, fake_registry.host) == []


def test_update_writes_nothing_when_one_tag_is_gone(fake_registry: FakeRegistry, small_lock: Path) -> None:
    text = small_lock.read_text()
    tag = load_lock(small_lock).entries["postgres-exporter"].tag
    fake_registry.push("library/haproxy", "3.4.6-alpine3.24", (*registry.PLATFORMS, "linux/s390x"))
    del fake_registry.manifests[f"/v2/prometheuscommunity/postgres-exporter/manifests/{tag}"]
    with pytest.raises(registry.RegistryError, match=r"postgres-exporter: .* does not exist"):
        registry.update(small_lock, fake_registry.host)
    assert small_lock.read_text() == text


def test_no_registry_is_could_not_tell(capsys: pytest.CaptureFixture[str], fake_registry: FakeRegistry) -> None:
    fake_registry.refuses_tokens = True
    for command in ("verify", "update"):
        assert registry.main([command, "--mirror", fake_registry.host]) == 1
        assert "could not tell" in capsys.readouterr().err
    fake_registry.server_close()
    assert registry.main(["update", "--mirror", fake_registry.host]) == 1
    assert "can't be reached" in capsys.readouterr().err


def test_tokens_are_never_asked_for_over_plain_http() -> None:
    client = registry.Client()
    with pytest.raises(registry.RegistryError, match="not https"):
        client._token('Bearer realm="http://tokens.example/token",service="x"', "registry.example", "a/b")
    with pytest.raises(registry.RegistryError, match="wants a login"):
        client._token('Basic realm="x"', "registry.example", "a/b")

"""`agentstack config` shows what runs and no secret."""

import io
import json
import tarfile
from typing import Any

import pytest

from agentstack import config_view, engine
from agentstack.generated import generated_secrets
from agentstack.redact import MASK, redact, secret_file, tokens

pytestmark = pytest.mark.unit

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIB\nabc==\n-----END EC PRIVATE KEY-----"
BCRYPT = "$2b$12$" + "a" * 53
SCRAM = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        (f"key: |\n{KEY}\nend", "MHcCAQEEIB"),
        ("-----BEGIN PRIVATE KEY-----\ncut off in the middle", "cut off"),
        (f"admin: {BCRYPT}", BCRYPT),
        (f'"phoenix" "{SCRAM}"', "c3RvcmVk"),
        ("url: postgresql://phoenix:hunter22@postgres:5432/phoenix", "hunter22"),
        ("token=the-known-token", "the-known-token"),
    ],
)
def test_secrets_of_every_kind_are_taken_out(text: str, gone: str) -> None:
    shown = redact(text, ["the-known-token"])
    assert gone not in shown
    assert MASK in shown


def test_ordinary_text_stays() -> None:
    text = "url: https://phoenix:6006/v1/traces\nlevel: info\nname: abc"
    assert redact(text, ["abc", ""]) == text


def test_of_two_overlapping_secrets_nothing_remains() -> None:
    assert redact("x=secret-value-long", ["secret-value", "secret-value-long"]) == f"x={MASK}"


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        ("/etc/agentstack/secrets/anything", True),
        ("/etc/agentstack/tls/tls.key", True),
        ("/etc/agentstack/pgpass", True),
        ("/etc/agentstack/tls/tls.crt", False),
        ("/etc/agentstack/config.yaml", False),
        ("/etc/agentstack/secrets.yaml", False),
    ],
)
def test_what_is_secret_by_its_place(path: str, secret: bool) -> None:
    assert secret_file(path) is secret


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pass=0123456789abcdef0123456789abcdef", ["0123456789abcdef0123456789abcdef"]),
        ("aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgMTIzNDU2Nzg= shop", ["aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgMTIzNDU2Nzg="]),
        ("pg1-path=/var/lib/postgresql/17/data/with/a/long/path", []),
        ("an-ordinary-name-of-many-words-without-digits", []),
        ("short-1", []),
    ],
)
def test_what_looks_like_a_token(text: str, found: list[str]) -> None:
    assert tokens(text) == found


def archive(files: dict[str, bytes]) -> bytes:
    """As `docker cp <container>:/etc/agentstack -` writes it; `tokens` is its owner's alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        directory = tarfile.TarInfo("agentstack/")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        for path, content in files.items():
            member = tarfile.TarInfo(f"agentstack/{path}")
            member.size, member.mode, member.uid, member.gid = (
                len(content),
                0o400 if path == "tokens" else 0o440,
                65532,
                65532,
            )
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def view() -> config_view.View:
    raw: dict[str, Any] = {
        "Name": "/agentstack-dev-phoenix",
        "Image": "sha256:1",
        "State": {"Status": "running"},
        "Config": {
            "Image": "sha256:1",
            "User": "65532:65532",
            "Labels": {},
            "Env": ["PHOENIX_PORT=6006", "LEAKED=database-pass-1"],
            "Cmd": ["serve", "--token", "known-token-1"],
            "Entrypoint": None,
        },
        "HostConfig": {},
        "Mounts": [{"Destination": "/etc/agentstack", "Name": "agentstack-dev-phoenix-config-1", "RW": False}],
        "NetworkSettings": {"Networks": {"agentstack-dev-phoenix-network": {}}},
    }
    files = {
        "secrets/database-password": b"database-pass-1\n",
        "config.yaml": b"dsn: postgres\npassword: database-pass-1\nlevel: info\n",
        "tls/tls.key": KEY.encode(),
        "blob": bytes([0xFF, 0xFE, 0x00]),
        "tokens": b"x1_y2-the_token_before_the_newest_of_all shop\n",
        "echo.txt": b"was x1_y2-the_token_before_the_newest_of_all, of shop\n",
    }
    return config_view.view(engine.to_container(raw), {"/etc/agentstack": archive(files)}, ["known-token-1"])


def test_the_view_holds_no_secret_anywhere(view: config_view.View) -> None:
    shown = json.dumps(view.as_json())
    for secret in ("database-pass-1", "known-token-1", "MHcCAQEEIB", "x1_y2-the_token_before_the_newest_of_all"):
        assert secret not in shown


def test_the_view_shows_the_rest(view: config_view.View) -> None:
    texts = {file.path: file.text for file in view.files}
    assert texts["/etc/agentstack/config.yaml"] == f"dsn: postgres\npassword: {MASK}\nlevel: info\n"
    assert texts["/etc/agentstack/secrets/database-password"] == MASK
    assert texts["/etc/agentstack/tokens"] == f"{MASK} shop\n"
    assert texts["/etc/agentstack/echo.txt"] == f"was {MASK}, of shop\n"
    assert texts["/etc/agentstack/blob"] == "[3 bytes, not text]"
    assert view.environment["PHOENIX_PORT"] == "6006"
    assert view.mounts == ["/etc/agentstack <- agentstack-dev-phoenix-config-1 (ro)"]
    [config] = [file for file in view.files if file.path.endswith("config.yaml")]
    assert (config.mode, config.owner) == ("0440", "65532:65532")


def test_generated_passwords_are_found_in_the_exported_state() -> None:
    kind = "random:index/randomPassword:RandomPassword"
    exported = json.dumps(
        {
            "deployment": {
                "resources": [
                    {"type": kind, "urn": "urn:x::scrape", "outputs": {"result": {"plaintext": '"s3cret-a"'}}},
                    {"type": kind, "urn": "urn:x::admin", "outputs": {"result": "s3cret-b"}},
                    {"type": "docker:index/network:Network", "urn": "urn:x::n", "outputs": {"result": "no secret"}},
                    {"type": kind, "urn": "urn:x::pending"},
                ]
            }
        }
    )
    assert generated_secrets(exported) == {"scrape": "s3cret-a", "admin": "s3cret-b"}

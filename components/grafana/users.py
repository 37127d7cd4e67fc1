"""Keeps Grafana's logins as the settings say; runs in a container, against Grafana's HTTP API over verified TLS.

Grafana has no file from which it would take users. This is safe to run again: what is right already is left alone.
Logins that the settings once named are known by the domain of their mail address and removed when they are gone from
there; those that somebody made in Grafana are never touched. At last Grafana is asked whether its data source
answers: its own health check stays green without.

Standard library only. Exit codes: 0 done, 1 Grafana refused something or did not answer in time.
"""

import argparse
import base64
import json
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 120.0
PAUSE_SECONDS = 1.0


class ApiError(Exception):
    """An answer that is no success; the message names the request and never holds a password."""

    def __init__(self, method: str, path: str, status: int, message: str) -> None:
        super().__init__(f"{method} {path}: {status} {message}")
        self.status = status


class Grafana:
    """Grafana's HTTP API as one user."""

    def __init__(self, url: str, ca: str, login: str, password: str) -> None:
        self._url = url.rstrip("/")
        context = ssl.create_default_context(cafile=ca)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        word = base64.b64encode(f"{login}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {word}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request; the answer's JSON.

        Raises:
            ApiError: for an answer that is no success.
            OSError: when there is none.
        """
        request = urllib.request.Request(  # noqa: S310 - https only: the argument parser checks it
            f"{self._url}{path}",
            method=method,
            headers=self._headers,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with self._opener.open(request, timeout=10) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")[:300]
            raise ApiError(method, path, error.code, text) from error


def wait_until_it_answers(grafana: Grafana, path: str, deadline: float) -> None:
    """Ask until the answer is a success.

    Raises:
        TimeoutError: with the last answer.
    """
    while True:
        try:
            grafana.call("GET", path)
        except (ApiError, OSError) as error:
            if isinstance(error, ApiError) and error.status in {401, 403}:
                raise
            if time.monotonic() > deadline:
                raise TimeoutError(f"no success within {DEADLINE_SECONDS:.0f} s: {error}") from error
            time.sleep(PAUSE_SECONDS)
        else:
            return


def knows(url: str, ca: str, login: str, password: str) -> bool:
    """Whether this login opens Grafana."""
    try:
        Grafana(url, ca, login, password).call("GET", "/api/user")
    except ApiError as error:
        if error.status in {401, 403}:
            return False
        raise
    return True


def reconcile(
    grafana: Grafana, wanted: Mapping[str, Any], passwords: Mapping[str, str], url: str, ca: str
) -> list[str]:
    """Make the logins what they should be; returns what was done, one line each."""
    domain = wanted["mailDomain"]
    done = []
    members = {member["login"]: member for member in grafana.call("GET", "/api/org/users")}
    for login, user in wanted["users"].items():
        member = members.get(login)
        mail = f"{login}@{domain}"
        if member is None:
            body = {"name": login, "login": login, "email": mail, "password": passwords[login], "OrgId": 1}
            made = grafana.call("POST", "/api/admin/users", body)
            member = {"userId": made["id"], "role": None, "email": mail}
            done.append(f"{login}: made")
        elif member["email"] != mail:
            raise ApiError("GET", "/api/org/users", 409, f"the login {login} exists and is not of the settings' making")
        elif not knows(url, ca, login, passwords[login]):
            grafana.call("PUT", f"/api/admin/users/{member['userId']}/password", {"password": passwords[login]})
            done.append(f"{login}: password set")
        if member["role"] != user["role"]:
            grafana.call("PATCH", f"/api/org/users/{member['userId']}", {"role": user["role"]})
            done.append(f"{login}: role {user['role']}")
    for login, member in members.items():
        if login not in wanted["users"] and member["email"] == f"{login}@{domain}":
            grafana.call("DELETE", f"/api/admin/users/{member['userId']}")
            done.append(f"{login}: removed")
    return done


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Keep Grafana's logins as the settings say.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--admin", required=True)
    parser.add_argument("--admin-password-file", required=True, type=Path)
    parser.add_argument("--users-file", required=True, type=Path)
    parser.add_argument("--passwords-dir", required=True, type=Path)
    parser.add_argument("--data-source", required=True)
    options = parser.parse_args(arguments)
    if not options.url.startswith("https://"):
        parser.error("--url must be https")
    wanted = json.loads(options.users_file.read_text(encoding="utf-8"))
    passwords = {
        login: (options.passwords_dir / login).read_text(encoding="utf-8").strip() for login in wanted["users"]
    }
    admin_password = options.admin_password_file.read_text(encoding="utf-8").strip()
    grafana = Grafana(options.url, options.ca, options.admin, admin_password)
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        wait_until_it_answers(grafana, "/api/org", deadline)
        done = reconcile(grafana, wanted, passwords, options.url, options.ca)
        wait_until_it_answers(
            grafana, f"/api/datasources/uid/{urllib.parse.quote(options.data_source)}/health", deadline
        )
    except (ApiError, OSError) as error:
        sys.stderr.write(f"grafana-users: {error}\n")
        return 1
    sys.stdout.write("\n".join(done or ["nothing to change"]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

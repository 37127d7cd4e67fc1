"""The few questions that the commands ask of Phoenix, over verified TLS with the admin secret.

GraphQL's ``getTraceByOtelId`` finds a trace by its OpenTelemetry id in any project, so no project need be known.
"""

import json
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from agentstack.errors import CommandError

TIMEOUT_SECONDS: Final = 20.0
_TRACE_QUERY: Final = """
query ($id: String!) {
  getTraceByOtelId(traceId: $id) {
    project { name }
    spans(first: 1000) { edges { node {
      spanId name spanKind statusCode parentId latencyMs tokenCountTotal attributes
    } } }
  }
}
"""


@dataclass(frozen=True)
class StoredTrace:
    """A trace as Phoenix has stored it: its project, and its spans as GraphQL tells them."""

    project: str
    spans: tuple[dict[str, Any], ...]


def verified(ca_certificate: str) -> ssl.SSLContext:
    """A client context that trusts the stack's CA and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_certificate)
    return context


class PhoenixApi:
    """A client of one Phoenix. Proxies and CA variables of the shell are ignored: the address and the CA are ours."""

    def __init__(self, url: str, admin_secret: str, ca_certificate: str) -> None:
        self._client = httpx.Client(
            base_url=url,
            verify=verified(ca_certificate),
            trust_env=False,
            timeout=TIMEOUT_SECONDS,
            headers={"authorization": f"Bearer {admin_secret}"},
        )
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def graphql(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The ``data`` of an answer.

        Raises:
            CommandError: when Phoenix can't be asked or refuses.
        """
        try:
            answer = self._client.post("/graphql", json={"query": query, "variables": variables or {}})
        except httpx.HTTPError as error:
            raise CommandError(
                f"Phoenix at {self.url} could not be asked: {error or type(error).__name__}",
                "`agentstack status` shows whether phoenix and edge-ui are healthy",
            ) from error
        if answer.status_code != httpx.codes.OK:
            raise CommandError(
                f"Phoenix at {self.url} answered {answer.status_code} to a query",
                "`agentstack logs phoenix` may say why",
            )
        body = answer.json()
        if body.get("errors"):
            raise CommandError(f"Phoenix refused a query: {body['errors'][0].get('message')}")
        data: dict[str, Any] = body["data"]
        return data

    def trace(self, trace_id: str) -> StoredTrace | None:
        """The stored spans of a trace (32 hex digits), or None while there are none."""
        found = self.graphql(_TRACE_QUERY, {"id": trace_id})["getTraceByOtelId"]
        if found is None:
            return None
        nodes = [edge["node"] for edge in found["spans"]["edges"]]
        return StoredTrace(
            project=found["project"]["name"],
            spans=tuple({**node, "attributes": json.loads(node["attributes"])} for node in nodes),
        )

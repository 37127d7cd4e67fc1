"""A FAKE of the OpenAI chat API, for examples and tests: fixed answer, fixed token usage, no model behind it.

    python server.py [--host 127.0.0.1] [--port 8080]

Then point a client at http://127.0.0.1:8080/v1. Every answer says that it is a fake. Standard library alone.
"""

import argparse
import json
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NoReturn

ANSWER: Final = "This is a canned answer of the fake OpenAI API: no model was asked."
PROMPT_TOKENS: Final = 11
COMPLETION_TOKENS: Final = 17
BODY_LIMIT: Final = 1 << 20
MARK: Final = "agentstack-fake-openai"


def completion(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one chat completion request. Raises ValueError for what the real API would refuse too."""
    model, messages = request.get("model"), request.get("messages")
    if not isinstance(model, str) or not model:
        raise ValueError("'model' is missing")
    if not isinstance(messages, list) or not messages:
        raise ValueError("'messages' is missing or empty")
    if request.get("stream"):
        raise ValueError("the fake does not stream")
    return {
        "id": f"chatcmpl-fake-{uuid.uuid4().hex[:12]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": MARK,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}],
        "usage": {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": COMPLETION_TOKENS,
            "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
        },
    }


class Handler(BaseHTTPRequestHandler):
    """POST /v1/chat/completions, GET /health."""

    protocol_version = "HTTP/1.1"
    server_version = MARK

    def do_GET(self) -> None:
        """Health, for whoever waits for the start."""
        if self.path == "/health":
            self._answer(200, {"status": "ok", "fake": True})
        else:
            self._answer(404, _error("the fake knows POST /v1/chat/completions alone"))

    def do_POST(self) -> None:
        """A chat completion; the key may be anything, but there must be one, as with the real API."""
        length = int(self.headers.get("content-length") or 0)
        if length > BODY_LIMIT:
            self.close_connection = True
            self._answer(413, _error("more than 1 MiB"))
            return
        body = self.rfile.read(length)
        if self.path.rstrip("/") not in {"/v1/chat/completions", "/chat/completions"}:
            self._answer(404, _error("the fake knows POST /v1/chat/completions alone"))
        elif not self.headers.get("authorization", "").startswith("Bearer "):
            self._answer(401, _error("an API key is needed; the fake takes any"))
        else:
            try:
                self._answer(200, completion(json.loads(body)))
            except (ValueError, AttributeError) as error:
                self._answer(400, _error(str(error)))

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-fake", MARK)
        self.end_headers()
        self.wfile.write(body)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": f"{message} (this is a fake)", "type": "invalid_request_error"}}


def main() -> NoReturn:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A fake of the OpenAI chat API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    server = ThreadingHTTPServer((options.host, options.port), Handler)
    print(f"fake OpenAI API on http://{options.host}:{server.server_port}/v1", flush=True)
    server.serve_forever()
    raise SystemExit(0)


if __name__ == "__main__":
    main()

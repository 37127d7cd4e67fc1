"""What stands behind the edges in their test: a collector and four user interfaces that answer with what they got.

Runs inside a container (standard library and grpcio). Every answer is the JSON of the request as it arrived. Usage:
``edge_backend.py CERTIFICATE KEY`` with both files PEM.
"""

import itertools
import json
import ssl
import sys
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc

assets = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def answer(self, status: int, content: object, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self) -> None:
        size = len(self.rfile.read(int(self.headers.get("content-length") or 0)))
        port = int(self.connection.getsockname()[1])
        authorization = self.headers.get("authorization", "")
        if port == 4318 and not authorization.startswith("Bearer "):
            return self.answer(401, {})
        if port in {9090, 9093} and authorization != "Basic YWRtaW46cmlnaHQ=":
            return self.answer(401, {}, www_authenticate="Basic")
        if self.path.startswith("/slow"):
            print("slow", flush=True)  # noqa: T201 - the test reads it
            time.sleep(2)
        extra, served = {}, 0
        if self.path.startswith("/assets/"):
            served = next(assets)
            extra = {"cache-control": "max-age=600", "etag": '"1"', "vary": "accept-encoding"}
        return self.answer(
            200,
            {
                "port": port,
                "method": self.command,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "size": size,
                "assets_served": served,
            },
            **extra,
        )

    do_GET = do_POST = do_PUT = do_HEAD = do_OPTIONS = handle_any  # noqa: N815 - http.server's names


class Export(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        metadata = dict(details.invocation_metadata)

        def export(request: bytes, _: grpc.ServicerContext) -> bytes:
            return json.dumps({"method": details.method, "headers": metadata, "size": len(request)}).encode()

        return grpc.unary_unary_rpc_method_handler(export)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def serve_http(port: int, context: ssl.SSLContext) -> None:
    server = Server(("0.0.0.0", port), Handler)  # noqa: S104 - inside a container
    # The handshake is the connection's own thread's: a client that never speaks must not stop the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def main() -> None:
    certificate, key = (Path(name) for name in sys.argv[1:3])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    limit = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Export()], options=limit)
    server.add_secure_port("0.0.0.0:4317", grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())]))
    server.start()
    threads = [
        threading.Thread(target=serve_http, args=(port, context)) for port in (4318, 13133, 6006, 3000, 9090, 9093)
    ]
    for thread in threads:
        thread.start()
    print("ready", flush=True)  # noqa: T201 - for who reads the log
    # gRPC's server ends with the last reference to it: keep this frame.
    server.wait_for_termination()


main()

"""A TLS server that shows one certificate on every port given, and tells who took it. Runs in a container.

    python3 impostor_server.py DIRECTORY PORT [PORT ...]

DIRECTORY holds tls.crt and tls.key. PostgreSQL's port answers the request for TLS first, as PostgreSQL does.
One line of JSON per connection: {"peer": address, "port": number, "taken": bool, "why": what the client said}.
"""

import json
import socket
import ssl
import struct
import sys
import threading
from pathlib import Path

POSTGRES = 5432
ANSWER = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TLS_PLEASE = struct.pack("!ii", 8, 80877103)


def say(line: str) -> None:
    """One line, at once and whole: threads share the output."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(connection: socket.socket, peer: str, port: int, context: ssl.SSLContext) -> None:
    """One connection: the handshake, and nothing after it."""
    taken, why = False, ""
    connection.settimeout(10)
    try:
        if port == POSTGRES:
            if connection.recv(8, socket.MSG_WAITALL) != TLS_PLEASE:
                return
            connection.sendall(b"S")
        with context.wrap_socket(connection, server_side=True) as secure:
            # The handshake ends with the client's last word, which it says only once it has verified.
            taken = True
            if secure.recv(65536) and port != POSTGRES:
                secure.sendall(ANSWER)
                secure.settimeout(1)
                while secure.recv(65536):  # to the end: a close with something unread would take the answer back
                    pass
    except ssl.SSLError as error:
        why = error.reason or str(error)
    except OSError as error:
        why = str(error)
    finally:
        connection.close()
    say(json.dumps({"peer": peer, "port": port, "taken": taken, "why": why}))


def listen(port: int, context: ssl.SSLContext) -> None:
    """Accept for ever."""
    with socket.create_server(("", port), backlog=64) as server:
        while True:
            connection, address = server.accept()
            threading.Thread(target=serve, args=(connection, address[0], port, context), daemon=True).start()


def main(directory: Path, ports: list[int]) -> None:
    """Listen on every port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    context.set_alpn_protocols(["h2", "http/1.1"])
    threads = [threading.Thread(target=listen, args=(port, context)) for port in ports]
    for thread in threads:
        thread.start()
    say("listening")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(port) for port in sys.argv[2:]])

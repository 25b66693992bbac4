"""Real servers on this machine that take messages, as a chat or a mail server would."""

import json
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Inbox:
    """What a server has taken; while `status` is not 200 it refuses."""

    port: int = 0
    status: int = 200
    messages: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0

    @property
    def titles(self) -> list[str]:
        """The titles of the messages, in the order they came."""
        return [one["title"] for one in self.messages]


@contextmanager
def http_server(answer: bytes = b"") -> Iterator[Inbox]:
    """An HTTP server that takes JSON, and what it answers."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            inbox.attempts += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if inbox.status == 200:
                inbox.messages.append(json.loads(body))
            self.send_response(inbox.status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        inbox.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield inbox
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def smtp_server() -> Iterator[Inbox]:
    """A mail server that takes every mail."""
    inbox = Inbox()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, answer: str) -> None:
            self.wfile.write(f"{answer}\r\n".encode())

        def handle(self) -> None:
            self.say("220 ready")
            while command := self.rfile.readline().decode().strip().upper():
                if command == "DATA":
                    self.say("354 go on")
                    lines = list(iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), "."))
                    inbox.messages.append({"title": "", "mail": "\n".join(lines)})
                elif command == "QUIT":
                    self.say("221 bye")
                    return
                self.say("250 ok")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        inbox.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield inbox
        finally:
            server.shutdown()
            thread.join()

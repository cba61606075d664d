"""A small shop: answers on 8080 whether it reaches its database and its cache, and what it finds there."""

import http.server
import json
import os
import signal
import socket
import struct
import sys

VERSION = os.environ.get("APP_VERSION", "0")
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print(f"shop {VERSION} begins, password {os.environ.get('REDIS_PASSWORD')}", flush=True)
WORKERS = int(os.environ["API_WORKERS"])


def cache(*words):
    with socket.create_connection(("redis", 6379), 2) as connection:
        stream = connection.makefile("rb")
        answers = []
        for command in (("AUTH", os.environ["REDIS_PASSWORD"]), words):
            parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in command)
            connection.sendall(f"*{len(command)}\r\n{parts}".encode())
            line = stream.readline().decode().strip()
            answers.append(stream.readline().decode().strip() if line.startswith("$") and line != "$-1" else line)
        return answers[-1]


def database(query):
    """One value, by the simple query of the protocol, version 3."""
    with socket.create_connection(("db", 5432), 2) as connection:
        stream = connection.makefile("rb")
        start = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
        connection.sendall(struct.pack("!i", len(start) + 4) + start)
        body = query.encode() + b"\0"
        is_sent = False
        value = None
        while True:
            kind, length = struct.unpack("!ci", stream.read(5))
            content = stream.read(length - 4)
            if kind == b"E":
                raise RuntimeError(content.decode(errors="replace"))
            if kind == b"D":
                value = content[6:].decode()
            if kind == b"Z":
                if is_sent:
                    return value
                connection.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)
                is_sent = True


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = {"version": VERSION, "workers": WORKERS}
        try:
            found["orders"] = int(database("select count(*) from orders"))
            found["cart"] = cache("GET", "cart")
            room = os.statvfs("/exports")
            found["room"] = room.f_bavail * 100 // room.f_blocks > 10
            status = 200 if found["room"] else 507
        except Exception as error:
            found["error"] = str(error)
            status = 503
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_):
        pass


http.server.HTTPServer(("0.0.0.0", 8080), Shop).serve_forever()
sys.exit(1)

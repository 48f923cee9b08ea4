"""A receiver of the Forward protocol, as a process: it answers as Fluentd's in_forward does, or misbehaves as told.

    python forward_receiver.py STORE [--port P] [--behaviour ok,wrong,...] [--shared-key K] [--certificate F --key F]

It prints its port, and appends each event that it takes to STORE as a JSON line, before it acknowledges anything: as
Fluentd does with a file buffer. Messages are treated by the behaviours in turn.
"""

import argparse
import hashlib
import json
import os
import secrets
import socket
import ssl
import struct
import threading
import time
from itertools import count
from typing import Any

import msgpack

HOSTNAME = b"receiver.example"
BEHAVIOURS = {
    "ok": "store, acknowledge",
    "slow": "store, wait, acknowledge",
    "wrong": "store, acknowledge something else",
    "silent": "store, acknowledge nothing",
    "close": "store, close instead of acknowledging",
    "cut": "close in the middle of the message",
    "leave": "store, acknowledge, close",
}


class Receiver:
    """Takes connections until it is killed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.behaviours: list[str] = options.behaviour.split(",")
        assert set(self.behaviours) <= set(BEHAVIOURS)
        self.store = os.open(options.store, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.turn = count()

    def run(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.options.port))
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        try:
            if self.options.certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.options.certificate, self.options.key)
                connection = context.wrap_socket(connection, server_side=True)
            unpacker = msgpack.Unpacker(ext_hook=msgpack.ExtType, strict_map_key=False)
            if self.options.shared_key is None or self.shake_hands(connection, unpacker):
                while self.take(connection, unpacker):
                    pass
        except OSError:
            pass
        finally:
            connection.close()

    def shake_hands(self, connection: socket.socket, unpacker: Any) -> bool:
        """HELO, PING, PONG as the specification has them; whether the client knows the key."""
        nonce, key = secrets.token_bytes(16), self.options.shared_key.encode()
        auth = secrets.token_bytes(16) if self.options.user_auth else b""
        connection.sendall(msgpack.packb(["HELO", {"nonce": nonce, "auth": auth, "keepalive": True}]))
        ping = receive(connection, unpacker)
        if not (isinstance(ping, list) and len(ping) == 6 and ping[0] == "PING"):
            connection.sendall(msgpack.packb(["PONG", False, "invalid ping message", "", ""]))
            return False
        _, name, salt, digest, _, _ = ping
        if digest != hashlib.sha512(salt.encode() + name.encode() + nonce + key).hexdigest():
            connection.sendall(msgpack.packb(["PONG", False, "shared_key mismatch", "", ""]))
            return False
        proof = hashlib.sha512(salt.encode() + HOSTNAME + nonce + (b"" if self.options.impostor else key)).hexdigest()
        connection.sendall(msgpack.packb(["PONG", True, "", HOSTNAME.decode(), proof]))
        return True

    def take(self, connection: socket.socket, unpacker: Any) -> bool:
        """One message; whether to wait for another."""
        start = connection.recv(1)
        behaviour = self.behaviours[next(self.turn) % len(self.behaviours)] if start else "cut"
        if behaviour == "cut":
            return False
        unpacker.feed(start)
        message = receive(connection, unpacker)
        if message is None:
            return False
        tag, entries, options = message
        self.keep(tag, entries, options)
        if behaviour in ("silent", "close"):
            return behaviour == "silent"
        if behaviour == "slow":
            time.sleep(self.options.delay)
        chunk = secrets.token_hex(8) if behaviour == "wrong" else options["chunk"]
        connection.sendall(msgpack.packb({"ack": chunk}))
        return behaviour != "leave"

    def keep(self, tag: str, entries: bytes, options: dict[str, Any]) -> None:
        unpacker = msgpack.Unpacker(ext_hook=msgpack.ExtType)
        unpacker.feed(entries)
        events = [
            {"tag": tag, "time": seconds(stamp), "record": record, "chunk": options["chunk"]}
            for stamp, record in unpacker
        ]
        assert len(events) == options["size"]
        os.write(self.store, "".join(json.dumps(event) + "\n" for event in events).encode())


def seconds(stamp: Any) -> float:
    """Of an EventTime."""
    assert stamp.code == 0
    whole, nanoseconds = struct.unpack(">II", stamp.data)
    return float(whole + nanoseconds / 1e9)


def receive(connection: socket.socket, unpacker: Any) -> Any:
    """The next message, or None at the end."""
    while True:
        for message in unpacker:
            return message
        data = connection.recv(4096)
        if not data:
            return None
        unpacker.feed(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--behaviour", default="ok")
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--shared-key")
    parser.add_argument("--user-auth", action="store_true")
    parser.add_argument("--impostor", action="store_true", help="accepts the right key without knowing it")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    Receiver(parser.parse_args()).run()

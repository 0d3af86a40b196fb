"""schemathesis makes requests from the description, right and wrong ones, for a minute: each is answered as described."""

import re
import socket
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from environment import DESCRIPTIONS, ENVIRONMENT, GENERATED, Demo

SECONDS = 60


class Forwarder:
    """Bytes from a TCP port of loopback to the socket and back, as they are: it adds no header that would be refused."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.forward, args=(client,), daemon=True).start()

    def forward(self, client):
        with client, socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(self.path)
            answers = threading.Thread(target=self.copy, args=(daemon, client), daemon=True)
            answers.start()
            self.copy(client, daemon)
            answers.join()

    @staticmethod
    def copy(one, other):
        try:
            while piece := one.recv(65536):
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


class Schemathesis(unittest.TestCase):
    def test_every_answer_is_as_described(self):
        GENERATED.mkdir(parents=True, exist_ok=True)
        with Demo() as demo:
            forwarder = Forwarder(demo.socket)
            command = [
                Path(sys.executable).with_name("st"), "--config-file", Path(__file__).with_name("schemathesis.toml"),
                "run", DESCRIPTIONS["3.1"],
                "--url", f"http://127.0.0.1:{forwarder.port}",
                "--header", "Cloakroom-Request: true",
                "--header", f"Authorization: Bearer {demo.user_token}",
                "--max-time", str(SECONDS), "--seed", "1",
            ]
            ran = subprocess.run(command, cwd=GENERATED, env=ENVIRONMENT, capture_output=True, text=True)
            forwarder.close()
        print(re.search(r"\d+ generated.*", ran.stdout)[0])
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)


if __name__ == "__main__":
    unittest.main()

"""Measures what the daemon needs, for `resources` in deploy/kubernetes and for its page.

    memory.py CLOAKROOM TENANT      the release build, and target/debug/examples/tenant

Asks for users' tokens over the socket and reads the daemon's resident memory, VmRSS and its peak VmHWM, and the time
that it spent on a processor, from /proc.
"""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

USERS = 5000
# More than cache.max_bytes has room for.
MORE_USERS = 30000
# Entra ID's are JWTs of about two kilobytes, Google's a tenth of that.
TOKEN_BYTES = 2000
CALLERS = 50
SECONDS = 20


class Cloakroom(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, number):
        self.request("GET", f"/v1/users/google-oauth2%7C{number}/token", headers={"Cloakroom-Request": "true"})
        reply = self.getresponse()
        body = reply.read()
        assert reply.status == 200, body


def main(cloakroom, tenant):
    directory = pathlib.Path(tempfile.mkdtemp())
    played = subprocess.Popen([tenant, directory], stdin=subprocess.PIPE, text=True)
    played.stdin.write(f"users {MORE_USERS} {TOKEN_BYTES}\n")
    played.stdin.flush()
    wait_for(directory / "domain")
    path = str(directory / "socket")
    environment = dict(line.split("=", 1) for line in (directory / "env").read_text().splitlines())
    environment |= {
        "CLOAKROOM_TENANT__CA_FILE": str(directory / "ca.pem"),
        "CLOAKROOM_TENANT__CLIENT__SECRET_FILE": str(directory / "client_secret"),
        "CLOAKROOM_LISTENER__0__PATH": path,
        "CLOAKROOM_UPSTREAM__REQUESTS_PER_SECOND": "2000",
        "CLOAKROOM_UPSTREAM__BURST": "2000",
        "CLOAKROOM_AUDIT__EVENTS": "none",
    }
    daemon = subprocess.Popen([cloakroom, "serve"], env=environment, stderr=subprocess.DEVNULL)
    try:
        subprocess.run([cloakroom, "wait", "--socket", path], check=True)
        time.sleep(2)
        tell("idle", daemon.pid)
        before = processor(daemon.pid)
        time.sleep(10)
        print(f"  idle, it spends {(processor(daemon.pid) - before) / 10 * 1000:.2f} ms of a processor per second")
        each(range(USERS), path)
        tell(f"{USERS} users held, each asked for once", daemon.pid)
        tell_cache(cloakroom, path)
        before, started, asked = processor(daemon.pid), time.monotonic(), 0
        while time.monotonic() < started + SECONDS:
            each(range(USERS), path)
            asked += USERS
        spent, passed = processor(daemon.pid) - before, time.monotonic() - started
        tell(f"under {asked / passed:.0f} lookups per second from {CALLERS} connections", daemon.pid)
        print(f"  {spent / asked * 1e6:.0f} microseconds of a processor for each")
        each(range(MORE_USERS), path)
        tell(f"{MORE_USERS} users, which is more than there is room for", daemon.pid)
        tell_cache(cloakroom, path)
    finally:
        daemon.terminate()
        played.terminate()


def each(numbers, path):
    numbers = list(numbers)

    def caller(part):
        connection = Cloakroom(path)
        for number in part:
            connection.ask(number)

    threads = [threading.Thread(target=caller, args=(numbers[n::CALLERS],)) for n in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tell(when, pid):
    status = dict(line.split(":\t") for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    mebibytes = {name: int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}
    print(f"{when}: {mebibytes['VmRSS']:.1f} MiB resident, {mebibytes['VmHWM']:.1f} MiB at most")


def tell_cache(cloakroom, path):
    status = subprocess.run([cloakroom, "status", "--socket", path, "--output", "json"], capture_output=True)
    cache = json.loads(status.stdout)["cache"]
    print(f"  cache: {cache['bytes'] / 2**20:.1f} MiB, {cache['entries']} entries of "
          f"{cache['bytes'] // cache['entries']} bytes on average")


def processor(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(path):
    while not path.exists():
        time.sleep(0.05)


main(*sys.argv[1:])

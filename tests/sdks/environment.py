"""A tenant, three providers' APIs and a daemon, each call of which clients make through the socket."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/debug/cloakroom"
TENANT = ROOT / "target/debug/examples/tenant"
NODE_PACKAGES = ROOT / "target/sdks-node/node_modules"
HERE = Path(__file__).parent
# Settings of the person who runs the tests are not the daemon's.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}
# In seconds. Generous, because processes start slowly on a busy machine.
TIMEOUT = 60

GOOGLE = "google-oauth2|103547991597142817347"
GITHUB = "github|583231"
ENTRA = "waad|Yq2uL8mWc0ZsT4vXnR1pK7aEJd3FbGh5"

CONFIGURATION = """\
[tenant]
domain = "{domain}"
audience = "https://{domain}/api/v2/"
ca_file = "{tenant}/ca.pem"
[tenant.client]
id = "demo-client"
secret_file = "{tenant}/client_secret"
[management_api]
client_id = "demo-calls"
secret_file = "{tenant}/calls_secret"
[providers]
ca_file = "{tenant}/ca.pem"

[audit]
events = "all"
output = "{directory}/audit.log"

[[proxy]]
connection = "google-oauth2"
name = "gmail"
url = "https://{google}"
provider = "google"
allow_private = true

[[proxy]]
connection = "google-oauth2"
name = "large"
url = "https://{google}"
provider = "google"
allow_private = true
request_bytes = "4MiB"

[[proxy]]
connection = "entra"
name = "graph"
url = "https://{microsoft}"
provider = "microsoft"
allow_private = true

[[proxy]]
connection = "github"
name = "api"
url = "https://{github}"
provider = "github"
allow_private = true

[[listener]]
path = "{directory}/cloakroom.sock"
mode = "0600"
[[listener.allow]]
uid = {uid}
operations = ["proxy", "management_api"]
calls = [
    "GET gmail/gmail/v1/users/me/**",
    "POST gmail/gmail/v1/users/me/messages/send",
    "PUT gmail/upload",
    "GET gmail/events",
    "PUT large/upload",
    "GET graph/v1.0/me/**",
    "POST graph/v1.0/me/sendMail",
    "GET api/items",
    "GET api/refuse/*",
    "POST api/echo/**",
    "GET /users",
    "GET /users/*",
    "PATCH /users/*",
]
"""


def until(what, condition):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + TIMEOUT
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"still not after {TIMEOUT} s: {what}")
        time.sleep(0.02)
    return answer


def snippets(page, language):
    """The code blocks of a guide in this language."""
    text = (ROOT / "docs/guides" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def write_modules(page, directory):
    """Writes each JavaScript block of a guide as the file that its first line names, and the tests beside them."""
    for block in snippets(page, "js"):
        name = re.match(r"// (\w+\.mjs)\n", block)[1]
        (directory / name).write_text(block)
    for script in HERE.glob("call_*.mjs"):
        (directory / script.name).write_text(script.read_text())
    link = directory / "node_modules"
    if not link.exists():
        link.symlink_to(NODE_PACKAGES)


class Daemon:
    """The tenant, the APIs and the daemon, until the end of the block."""

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="cloakroom-sdks-")
        self.directory = Path(self.temporary.name)
        tenant = self.directory / "tenant"
        tenant.mkdir()
        self.tenant = subprocess.Popen([TENANT, tenant], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                       env=ENVIRONMENT)
        until("the tenant listens", lambda: self.tenant.poll() is None and (tenant / "domain").exists())
        file, self.socket = self.directory / "cloakroom.toml", str(self.directory / "cloakroom.sock")
        hosts = {name: (tenant / f"{name}_api").read_text() for name in ["google", "microsoft", "github"]}
        domain = (tenant / "domain").read_text()
        file.write_text(CONFIGURATION.format(domain=domain, tenant=tenant, directory=self.directory, uid=os.geteuid(),
                                             **hosts))
        self.log = self.directory / "cloakroom.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--config", file], stdout=log, stderr=log,
                                            env=ENVIRONMENT)
        try:
            until("the daemon listens", self.listens)
        except BaseException:
            self.__exit__()
            raise
        return self

    def listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon has ended: {self.log.read_text()}")
        return Path(self.socket).exists()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT)
        self.tenant.stdin.close()
        self.tenant.wait(TIMEOUT)
        self.tenant.stdout.close()
        self.temporary.cleanup()

    def order(self, text):
        self.tenant.stdin.write(text + "\n")
        self.tenant.stdin.flush()

    def calls(self, api):
        """The requests that have reached this API since the last time. Orders before this one have been carried out."""
        self.order(f"api {api} calls")
        return json.loads(self.tenant.stdout.readline())

    def management_calls(self):
        """The calls of the Management API that have reached the tenant since the last time."""
        self.order("management calls")
        return json.loads(self.tenant.stdout.readline())

    def audited(self):
        """The status of each call that the daemon has answered."""
        lines = (self.directory / "audit.log").read_text().splitlines()
        return [json.loads(line)["status"] for line in lines if "management_api" in line]

    def get_status(self, path):
        """The status of a call without an SDK."""
        command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--unix-socket",
                   self.socket, "--header", "Cloakroom-Request: true", f"http://localhost{path}"]
        return int(self.run(command))

    def answers(self, api, *answers):
        """The next answers of this API: each is a status, a body, and headers if they are others."""
        for status, body, *headers in answers:
            body = body if isinstance(body, str) else json.dumps(body)
            headers = headers[0] if headers else {"content-type": "application/json"}
            self.order(f"api {api} answer " + json.dumps({"status": status, "headers": headers, "body": body}))
        self.calls(api)

    def run(self, command, **options):
        """Runs a client, which finds the socket in its environment, and returns what it prints."""
        environment = ENVIRONMENT | {"CLOAKROOM_SOCKET": self.socket} | options.pop("env", {})
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=environment, **options)
        if ran.returncode != 0:
            raise AssertionError(f"{command} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def node(self, page, script, *arguments):
        """Runs a script beside the modules of a guide, and returns the JSON that it prints."""
        directory = self.directory / "node"
        directory.mkdir(exist_ok=True)
        write_modules(page, directory)
        return json.loads(self.run(["node", script, *arguments], cwd=directory))


def header(call, name):
    """The values of a request's header, in their order."""
    return [value for field, value in call["headers"] if field.lower() == name]

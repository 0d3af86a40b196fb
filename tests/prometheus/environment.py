"""A simulated tenant, a daemon and a Prometheus, each in its own process, and the daemon's clients."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

import files

BINARY = files.ROOT / "target/debug/cloakroom"
TENANT = files.ROOT / "target/debug/examples/tenant"
# Without settings for a daemon that the tests' caller may have, which would be unknown keys or other values.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}
# In seconds. Generous, because processes start slowly on a busy machine.
TIMEOUT = 60

GOOGLE = "google-oauth2|103547991597142817347"
LINKED = "google-oauth2|115015401343387192604"
USERS = [GOOGLE, "google-oauth2|111199914890750704174", "github|583231", "twitter|2244994945",
         "oidc|corp/jane@corp.example", "oauth2|acme-00417"]
WITHOUT_TOKEN = "auth0|64ad8b1c2f9e7d0012a3b4c5"
EXPIRED = "google-oauth2|109876543210987654321"
# Its token has expired as well, and can be renewed.
RENEWED = "oauth2|gitlab|4711"
BLOCKED = "google-oauth2|104040404040404040404"


def until(what, condition):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + TIMEOUT
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"still not after {TIMEOUT} s: {what}")
        time.sleep(0.05)
    return answer


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A process whose output is kept, and that ends with the test."""

    def __init__(self, log, *command, **options):
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=ENVIRONMENT,
                                            **options)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def must_live(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.log.stem} has ended:\n{self.log.read_text()}")
        return True


class Tenant(Process):
    def __init__(self, directory):
        self.directory = directory / "tenant"
        self.directory.mkdir()
        super().__init__(directory / "tenant.log", TENANT, self.directory, stdin=subprocess.PIPE, text=True)
        until("the tenant listens", lambda: self.must_live() and (self.directory / "domain").exists())
        self.domain = (self.directory / "domain").read_text()

    def order(self, text):
        """The next request finds it done: orders are carried out within microseconds, requests take longer to come."""
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        time.sleep(0.1)

    def stop(self):
        self.process.stdin.close()
        return self.process.wait(TIMEOUT)


class Daemon(Process):
    def __init__(self, directory, tenant):
        self.tenant, self.admin = tenant, free_port()
        self.file, self.socket, self.rationed, self.calls = (
            directory / name for name in ["cloakroom.toml", "cloakroom.sock", "rationed.sock", "calls.sock"])
        self.state_key = directory / "state_key"
        self.state_key.write_text(os.urandom(32).hex())
        self.state_key.chmod(0o600)
        self.configure()
        super().__init__(directory / "cloakroom.log", BINARY, "serve", "--config", self.file)
        until("the daemon listens", lambda: self.must_live() and self.rationed.exists())

    def configure(self, more=""):
        """Entries are due after two seconds, so that the test sees them become stale. With a certificate, whose end is
        a metric as well."""
        # It holds a secret.
        self.file.touch(0o600)
        self.file.write_text(f"""
[tenant]
domain = "{self.tenant.domain}"
audience = "https://{self.tenant.domain}/api/v2/"
ca_file = "{self.tenant.directory}/ca.pem"
connect_timeout = "500ms"
request_timeout = "1s"
[tenant.client]
id = "demo-client"
auth = "tls_client_auth"
certificate_file = "{self.tenant.directory}/client.pem"
key_file = "{self.tenant.directory}/client_key.pem"
[cache]
max_ttl = "2s"
[upstream]
requests_per_second = 100
burst = 100
max_retries = 0
[[listener]]
path = "{self.socket}"
[[listener]]
path = "{self.rationed}"
[[listener.allow]]
uid = {os.getuid()}
rate = 1
[[listener]]
path = "{self.calls}"
[[listener.allow]]
uid = {os.getuid()}
operations = ["proxy"]
calls = ["GET api/**"]
[[proxy]]
connection = "google-oauth2"
name = "api"
url = "https://{(self.tenant.directory / 'google_api').read_text()}"
allow_private = true
response_bytes = "1KiB"
head_timeout = "1s"
idle_timeout = "1s"
# An application that the tenant does not know: its metrics are there, and no call goes out.
[management_api]
client_id = "unknown-client"
secret = "unknown-secret"
[me]
audiences = ["https://api.example"]
[audit]
output = "{self.file.parent}/audit.log"
[admin]
address = "127.0.0.1:{self.admin}"
[state]
path = "{self.file.parent}/state"
key_file = "{self.state_key}"
[providers]
ca_file = "{self.tenant.directory}/ca.pem"
[[connection]]
name = "gitlab"
sources = ["identities", "refresh"]
[connection.refresh]
provider = "gitlab"
token_endpoint = "{(self.tenant.directory / 'token_endpoint').read_text()}"
client_id = "demo-connection"
secret_file = "{self.tenant.directory}/connection_secret"
# So that a failure is repeated, and no refresh token is lost.
rotation = "keep_old"
{more}""")

    def command(self, *arguments):
        environment = ENVIRONMENT | {"CLOAKROOM_SOCKET": str(self.socket)}
        return subprocess.run([BINARY, *arguments], env=environment, capture_output=True, text=True,
                              timeout=2 * TIMEOUT)

    def metrics(self):
        return subprocess.run(["curl", "-sS", "--fail", "--unix-socket", self.socket, "http://localhost/metrics"],
                              capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout


class Callers:
    """Sends requests and counts what they were told, to compare it with what the daemon counted."""

    CALL = "/v1/users/{user_id}/proxy/{connection}/{name}/{path}"
    ROUTES = [(r"/v1/users/[^/]+/(token|identities|report)", r"/v1/users/{user_id}/\1"),
              (r"/v1/users/[^/]+", "/v1/users/{user_id}"),
              (r"(/v1/(?:me/token|management-token|status|reload))", r"\1"), (r".*", "none")]

    def __init__(self, daemon):
        self.daemon, self.answers, self.outcomes = daemon, Counter(), Counter()

    def ask(self, path, *headers, method="GET", through=None, meant=True, body=None):
        """Status, headers in lower case, and body."""
        command = ["curl", "-sS", "-i", "-X", method, "--unix-socket", through or self.daemon.socket]
        for header in [*(["Cloakroom-Request: true"] if meant else []), *headers]:
            command += ["-H", header]
        if body is not None:
            command += ["--data-binary", body]
        done = subprocess.run([*command, "http://localhost" + path], capture_output=True, text=True,
                              timeout=TIMEOUT, check=True)
        head, _, content = done.stdout.replace("\r\n", "\n").partition("\n\n")
        first, *lines = head.split("\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        answer = int(first.split()[1]), fields, content
        self.count(path.partition("?")[0], *answer)
        return answer

    def count(self, path, status, fields, content):
        route = next(match.expand(template) for pattern, template in self.ROUTES
                     if (match := re.fullmatch(pattern, path)))
        self.answers[route, status] += 1
        if status == 200 and "cloakroom-cache" in fields:
            self.outcomes[fields["cloakroom-cache"]] += 1
        elif status >= 500:
            self.outcomes["error"] += 1
        elif status in {404, 410} and route != "none" or '"user_blocked"' in content:
            self.outcomes["negative"] += 1

    def token(self, user, query="", **more):
        return self.ask(f"/v1/users/{urllib.parse.quote(user, safe='')}/token{query}", **more)

    def call(self, user, tail):
        """A call of the API; `None` if there is no token for it. It was looked up a moment ago, so that the call finds
        it in the cache. An answer that breaks off is an error to curl, and counted all the same."""
        self.purge(user)
        if self.token(user, "?connection=google-oauth2")[0] != 200:
            return None
        path = f"/v1/users/{urllib.parse.quote(user, safe='')}/proxy/google-oauth2/api{tail}"
        done = subprocess.run(["curl", "-sS", "-i", "--unix-socket", self.daemon.calls, "-H", "Cloakroom-Request: true",
                               "http://localhost" + path], capture_output=True, text=True, timeout=TIMEOUT)
        self.outcomes["hit"] += 1
        status, upstream = int(done.stdout.split()[1]), "cloakroom-upstream: 1" in done.stdout.lower()
        if not upstream:
            self.answers[self.CALL, status] += 1
        return status, upstream

    def purge(self, user):
        return self.ask(f"/v1/users/{urllib.parse.quote(user, safe='')}", method="DELETE")

    def at_once(self, users):
        with ThreadPoolExecutor(len(users)) as pool:
            return list(pool.map(self.token, users))


class Prometheus(Process):
    def __init__(self, directory, scrape):
        self.port = free_port()
        configuration = directory / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(scrape))
        super().__init__(
            directory / "prometheus.log", "prometheus", f"--config.file={configuration}",
            f"--storage.tsdb.path={directory}/tsdb", f"--web.listen-address=127.0.0.1:{self.port}")
        until("Prometheus is ready", lambda: self.must_live() and self.is_ready())

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=TIMEOUT) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def get(self, path, **query):
        data = urllib.parse.urlencode(query, doseq=True).encode() or None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", data, TIMEOUT) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"Prometheus refuses {query}: {refused.read().decode()}") from refused

    def query(self, expression, at):
        """A list of labels and value, sorted."""
        data = self.get("query", query=expression, time=at)
        if data["resultType"] in {"scalar", "string"}:
            return [({}, data["result"][1])]
        result = [(series["metric"], series["value"][1]) for series in data["result"]]
        return sorted(result, key=lambda series: sorted(series[0].items()))


def scrape_configs(daemon, interval):
    """The examples as they are, but for where pods come from: the cluster is played by a list of targets."""
    # As if their admin listener were at the daemon's.
    read = lambda name: yaml.safe_load((files.RULES.with_name(name)).read_text().replace("9464", str(daemon.admin)))
    host, cluster, annotated = read("host.yml"), read("kubernetes.yml"), read("annotations.yml")
    cluster["scrape_configs"][0]["job_name"] = "cluster"
    jobs = host["scrape_configs"] + cluster["scrape_configs"] + annotated["scrape_configs"]
    for job in jobs:
        job["scrape_timeout"] = interval
        if job.pop("kubernetes_sd_configs", None):
            job["static_configs"] = [{"targets": [target], "labels": labels} for target, labels in pods(daemon.admin)]
    return {"global": {"scrape_interval": interval, "evaluation_interval": "1s"},
            "rule_files": [str(files.RULES)], "scrape_configs": jobs}


def pods(port):
    """What Kubernetes' discovery says: a target for each port of each container, and one for a container without."""
    def target(pod, phase, container, name, number, annotations):
        labels = {"namespace": "shop", "pod_name": pod, "pod_phase": phase, "pod_ip": "127.0.0.1",
                  "pod_container_name": container, "pod_container_port_name": name}
        labels |= {f"pod_annotation_prometheus_io_{key}": value for key, value in annotations.items()}
        return f"127.0.0.1:{number}", {f"__meta_kubernetes_{key}": value for key, value in labels.items() if value}

    yes = {"scrape": "true", "port": str(port), "path": "/metrics"}
    return [target("web-1", "Running", "cloakroom", "cloakroom-admin", port, yes),
            target("web-1", "Running", "web", "http", 8080, yes),
            target("job-1", "Succeeded", "cloakroom", "cloakroom-admin", port, yes),
            target("db-1", "Running", "db", "", 80, {})]

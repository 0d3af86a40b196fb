"""A daemon to call: the demo, which is a whole daemon against a simulated tenant."""

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/debug/cloakroom"
GENERATED = ROOT / "target/openapi"
DESCRIPTIONS = {
    "3.1": ROOT / "docs/reference/openapi.json",
    "3.0": ROOT / "docs/reference/openapi-3.0.json",
}
# Settings of the person who runs the tests are not the daemon's.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}

GOOGLE = "google-oauth2|103547991597142817347"
LINKED = "google-oauth2|115015401343387192604"


def sample(name):
    """A body of that type: the example of the description, or the least that its schema requires."""
    schemas = json.loads(DESCRIPTIONS["3.1"].read_text())["components"]["schemas"]

    def value(schema):
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
        for chosen in ["examples", "enum", "const"]:
            if chosen in schema:
                return schema[chosen] if chosen == "const" else schema[chosen][0]
        if "properties" in schema:
            return {field: value(schema["properties"][field]) for field in schema.get("required", [])}
        kind = schema.get("type", "object")
        kind = kind if isinstance(kind, str) else kind[0]
        return {"string": "text", "integer": 1, "number": 1, "boolean": True, "array": []}.get(kind, {})

    return value(schemas[name])


def body_of(operation):
    """The name of the type of the operation's body, if it takes one."""
    if body := operation.get("requestBody"):
        return body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    return None


def operations():
    """Each operation with its path, its method and its id."""
    paths = json.loads(DESCRIPTIONS["3.1"].read_text())["paths"]
    return [(path, method, operation) for path, item in paths.items() for method, operation in item.items()]


class Demo:
    """`cloakroom demo`, from its invitation until the end of the block."""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="cloakroom-openapi-")
        self.socket = str(Path(self.directory.name) / "cloakroom.sock")
        command = [BINARY, "demo", "--socket", self.socket]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        env=ENVIRONMENT)
        said = ""
        while "Ctrl-C" not in said:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the demo ended: {said}")
            said += line
        header = Path(said.split("-H @")[1].split()[0]).read_text()
        self.user_token = header.split(" ")[-1].strip()
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.process.stdout.close()
        self.directory.cleanup()

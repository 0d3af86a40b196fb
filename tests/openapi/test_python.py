"""What openapi-python-client generates calls every operation, from OpenAPI 3.1 and from 3.0."""

import importlib
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import httpx

from environment import DESCRIPTIONS, GENERATED, GOOGLE, LINKED, Demo, body_of, operations, sample

# Nothing that formats what is generated, and every warning is a failure: a skipped operation is one.
CONFIG = "post_hooks: []\n"


def snake(operation_id):
    return re.sub(r"(?<!^)([A-Z])", r"_\1", operation_id).lower()


class Client:
    """The generated package and its clients."""

    def __init__(self, version, demo):
        name = f"generated_{version.replace('.', '_')}"
        directory = GENERATED / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        config = GENERATED / "config.yml"
        config.write_text(CONFIG)
        generator = Path(sys.executable).with_name("openapi-python-client")
        command = [generator, "generate", "--path", DESCRIPTIONS[version], "--output-path", directory, "--meta", "none",
                   "--config", config, "--fail-on-warning"]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        sys.path.insert(0, str(GENERATED))
        self.package = importlib.import_module(name)
        self.name = name
        common = {
            "base_url": "http://localhost",
            "headers": {"Cloakroom-Request": "true"},
            "httpx_args": {"transport": httpx.HTTPTransport(uds=demo.socket)},
            "raise_on_unexpected_status": True,
        }
        self.client = self.package.Client(**common)
        common["httpx_args"] = {"transport": httpx.HTTPTransport(uds=demo.socket)}
        self.own = self.package.AuthenticatedClient(token=demo.user_token, **common)

    def close(self):
        self.client.get_httpx_client().close()
        self.own.get_httpx_client().close()

    def model(self, name):
        return getattr(importlib.import_module(f"{self.name}.models"), name)

    def call(self, tag, operation_id, *arguments, client=None, **options):
        module = importlib.import_module(f"{self.name}.api.{tag}.{snake(operation_id)}")
        return module.sync_detailed(*arguments, client=client or self.client, **options)


class Python(unittest.TestCase):
    def every_operation(self, version):
        tags = {operation["operationId"]: operation["tags"][0] for _, _, operation in operations()}
        called = set()
        with Demo() as demo:
            client = Client(version, demo)
            self.addCleanup(client.close)

            def call(operation_id, *arguments, status=200, **options):
                called.add(operation_id)
                answer = client.call(tags[operation_id], operation_id, *arguments, **options)
                self.assertEqual(answer.status_code, status, (operation_id, answer))
                return answer

            token = call("getToken", GOOGLE).parsed
            self.assertEqual((token.user_id, token.access_token), (GOOGLE, "ya29.demo-foo"))
            self.assertGreater(token.expires_in, 0)
            one = call("getToken", LINKED, connection="github", min_ttl=0, fresh=False).parsed
            self.assertEqual(one.connection, "github")
            several = call("getToken", LINKED, status=409).parsed
            self.assertEqual((several.code.value, len(several.identities)), ("ambiguous_identity", 2))
            unknown = call("getToken", "auth0|nobody", status=404).parsed
            self.assertEqual(unknown.code.value, "user_not_found")
            self.assertEqual(call("getIdentities", GOOGLE).parsed.identities[0].connection, "google-oauth2")
            self.assertEqual(call("getMyToken", client=client.own).parsed.user_id, GOOGLE)
            self.assertEqual(call("getMyIdentities", client=client.own).parsed.user_id, GOOGLE)
            self.assertEqual(call("getMyToken", status=401).parsed.code.value, "invalid_user_token")
            report = client.model("Report")(fingerprint=token.fingerprint)
            self.assertEqual(call("reportToken", GOOGLE, body=report).parsed.outcome.value, "dropped")
            call("purgeUser", GOOGLE, status=204)
            call("purgeAllUsers", status=204)
            # The demo has no rules, and no configuration that could be read again.
            self.assertEqual(call("getManagementToken", status=403).parsed.code.value, "forbidden")
            self.assertEqual(call("reloadConfiguration", status=422).parsed.code.value, "invalid_configuration")
            self.assertTrue(call("getStatus").parsed.ready)
            self.assertEqual(call("getOpenApi").parsed.additional_properties["openapi"], "3.1.0")
            self.call_the_others(client, called)

    def call_the_others(self, client, called):
        """Calls every operation that no line calls; any answer that is described will do."""
        for path, _, operation in operations():
            if operation["operationId"] in called:
                continue
            arguments = [GOOGLE] if "{user_id}" in path else []
            body = body_of(operation)
            options = {"body": client.model(body).from_dict(sample(body))} if body else {}
            takes_user_token = any("userToken" in way for way in operation.get("security", []))
            answer = client.call(operation["tags"][0], operation["operationId"], *arguments,
                                 client=client.own if takes_user_token else client.client, **options)
            self.assertIn(str(answer.status_code.value), operation["responses"], operation["operationId"])

    def test_a_client_of_3_1_calls_every_operation(self):
        self.every_operation("3.1")

    def test_a_client_of_3_0_calls_every_operation(self):
        self.every_operation("3.0")


if __name__ == "__main__":
    unittest.main()

"""Auth0's SDKs call the Management API through the daemon, set up as the guide says."""

import json
import sys
import unittest
import urllib.parse

from environment import GOOGLE, HERE, Daemon, snippets

PAGE = "auth0-sdks.md"
USER = "/api/v2/users/" + urllib.parse.quote(GOOGLE, safe="")


class Auth0(unittest.TestCase):
    def node(self, daemon, *arguments):
        return daemon.node(PAGE, "call_auth0.mjs", GOOGLE, *arguments)

    def python(self, daemon, *arguments):
        return self.script(daemon, "python", "py", [sys.executable, "-B"], *arguments)

    def script(self, daemon, language, ending, command, *arguments):
        """Runs call_auth0 beside the guide's block in this language, and the stand-in for an SDK if there is one."""
        (block,) = snippets(PAGE, language)
        (daemon.directory / f"management.{ending}").write_text(block)
        for file in [HERE / f"call_auth0.{ending}", *HERE.glob(f"standins/*.{ending}")]:
            (daemon.directory / file.name).write_text(file.read_text())
        script = daemon.directory / f"call_auth0.{ending}"
        return json.loads(daemon.run([*command, script, GOOGLE, *arguments]))

    def connects(self, client):
        """What the guide sets up for an SDK reaches the daemon, and Auth0 through it."""
        with Daemon() as daemon:
            got = client(daemon)
            calls = daemon.management_calls()
        self.assertEqual(got["got"], GOOGLE)
        self.assertEqual(got["unknown"]["errorCode"], "inexistent_user")
        self.assertEqual([call["path"] for call in calls], [USER, "/api/v2/users/auth0%7C1%2Froles"])

    def calls(self, client):
        """A user is read, changed and listed. Each refusal is an error of the SDK's for answers of the API."""
        with Daemon() as daemon:
            got = client(daemon)
            calls = daemon.management_calls()
        self.assertEqual((got["got"], got["theme"], got["listed"]), (GOOGLE, "dark", 2))
        self.refused(got["unknown"], 404, "inexistent_user")
        self.refused(got["forbidden"], 403, "cloakroom_forbidden")
        # As `/api/v2/`, which no rule permits, or as `/api/v2`, which is no route. Neither reaches Auth0.
        self.assertTrue(got["dots"]["isOfApi"])
        self.assertIn(got["dots"]["status"], [400, 403])
        reached = [(call["method"], call["path"].split("?")[0]) for call in calls]
        self.assertEqual(reached, [("GET", USER), ("PATCH", USER), ("GET", "/api/v2/users"),
                                   ("GET", "/api/v2/users/auth0%7Cnobody")])
        self.assertEqual({call["client"] for call in calls}, {"demo-calls"})

    def refused(self, refusal, status, code):
        self.assertTrue(refusal["isOfApi"], refusal)
        self.assertEqual((refusal["status"], refusal["body"]["statusCode"]), (status, status), refusal)
        self.assertEqual(refusal["body"]["errorCode"], code)

    def waits(self, client):
        """While Auth0's limit is reached, the SDK waits as Auth0 or the daemon tells it, and no repetition reaches
        Auth0 too early."""
        with Daemon() as daemon:
            daemon.order("limit next 2")
            self.assertEqual(client(daemon, "wait")["got"], GOOGLE)
            self.assertEqual([call["status"] for call in daemon.management_calls()], [429, 200])
            # The daemon may wait a little longer than Auth0 asks, and then refuses the first repetition.
            before = daemon.audited()
            self.assertIn(before, [[429, 200], [429, 429, 200]])

            daemon.order("limit next 2")
            self.assertEqual(daemon.get_status(USER), 429)
            self.assertEqual(client(daemon, "wait")["got"], GOOGLE)
            self.assertEqual([call["status"] for call in daemon.management_calls()], [429, 200])
            self.assertEqual(daemon.audited(), [*before, 429, 429, 200])

    def test_node_calls(self):
        self.calls(self.node)

    def test_node_waits(self):
        self.waits(self.node)

    def test_python_calls(self):
        self.calls(self.python)

    def test_python_waits(self):
        self.waits(self.python)

    def test_ruby_connects(self):
        self.connects(lambda daemon: self.script(daemon, "ruby", "rb", ["ruby", "-I", daemon.directory]))

    def test_php_connects(self):
        self.connects(lambda daemon: self.script(daemon, "php", "php", ["php"]))


if __name__ == "__main__":
    unittest.main()

"""Octokit and the clients of Google and Microsoft call providers' APIs through the daemon, as the guide sets them up."""

import hashlib
import json
import unittest

from environment import ENTRA, GITHUB, GOOGLE, Daemon, header

PAGE = "proxy.md"


class Providers(unittest.TestCase):
    def provider_refused(self, refusal, name, status, verdict):
        """The client's error has the provider's status, and the daemon's word on it."""
        self.assertEqual((refusal["name"], refusal["status"]), (name, status), refusal)
        self.assertEqual(refusal["headers"]["cloakroom-upstream"], "1")
        self.assertEqual(refusal["headers"]["cloakroom-verdict"].split(";")[0], verdict)

    def daemon_refused(self, refusal, name):
        """The client's error has the daemon's status, without a provider's mark."""
        self.assertEqual((refusal["name"], refusal["status"]), (name, 403), refusal)
        self.assertEqual(refusal["problem"]["code"], "forbidden")
        self.assertNotIn("cloakroom-upstream", refusal.get("headers", {}))

    def sent(self, call, method, target):
        """What reached the provider: this, with a token that the client never had, and nothing that is the daemon's."""
        self.assertEqual((call["method"], call["target"]), (method, target))
        (authorization,) = header(call, "authorization")
        self.assertRegex(authorization, r"^Bearer .{8,}$")
        self.assertEqual(header(call, "cloakroom-request"), [])

    def test_octokit(self):
        with Daemon() as daemon:
            got = daemon.node(PAGE, "call_github.mjs", GITHUB)
            calls = daemon.calls("github")
        self.assertEqual([item["id"] for item in got["one"]], [5, 6])
        self.assertEqual(got["upstream"], "1")
        self.assertEqual([item["id"] for page in got["pages"] for item in page], [1, 2, 3, 4, 5, 6])
        body = json.dumps({"title": "A", "body": "x" * 1000}, separators=(",", ":"))
        self.assertEqual(got["created"]["body_sha256"], hashlib.sha256(body.encode()).hexdigest())
        self.provider_refused(got["refused"], "HttpError", 404, "missing_scope")
        self.assertEqual(got["refused"]["headers"]["cloakroom-remedy"].split("&")[0], "connection=github")
        self.provider_refused(got["dead"], "HttpError", 401, "token_dead")
        self.daemon_refused(got["forbidden"], "HttpError")
        wanted = [("GET", "/items?page=3"), ("GET", "/items"), ("GET", "/items?page=2"), ("GET", "/items?page=3"),
                  ("POST", "/echo/repos/octo%2Fcat/issues"), ("GET", "/refuse/github-scope"),
                  ("GET", "/refuse/github-dead")]
        self.assertEqual(len(calls), len(wanted), calls)
        for call, (method, target) in zip(calls, wanted):
            self.sent(call, method, target)

    def test_gmail(self):
        insufficient = {"error": {"code": 403, "message": "Insufficient", "status": "PERMISSION_DENIED", "details": [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}
        with Daemon() as daemon:
            daemon.answers("google",
                           (200, {"id": "17", "snippet": "Hello"}),
                           (200, {"messages": [{"id": "1"}, {"id": "2"}], "nextPageToken": "a/b+c"}),
                           (200, {"messages": [{"id": "3"}]}),
                           (200, {"id": "18", "labelIds": ["SENT"]}),
                           (403, insufficient))
            got = daemon.node(PAGE, "call_gmail.mjs", GOOGLE)
            calls = daemon.calls("google")
        self.assertEqual(got["message"]["snippet"], "Hello")
        self.assertEqual(got["listed"], ["1", "2", "3"])
        self.assertEqual(got["sent"]["labelIds"], ["SENT"])
        self.provider_refused(got["refused"], "GaxiosError", 403, "missing_scope")
        self.daemon_refused(got["forbidden"], "GaxiosError")
        wanted = [("GET", "/gmail/v1/users/me/messages/17"), ("GET", "/gmail/v1/users/me/messages"),
                  ("GET", "/gmail/v1/users/me/messages?pageToken=a%2Fb%2Bc"),
                  ("POST", "/gmail/v1/users/me/messages/send"), ("GET", "/gmail/v1/users/me/labels")]
        self.assertEqual(len(calls), len(wanted), calls)
        for call, (method, target) in zip(calls, wanted):
            self.sent(call, method, target)
        self.assertGreater(calls[3]["body_bytes"], 20)

    def test_graph(self):
        following = "https://graph.microsoft.com/v1.0/me/messages?$skiptoken=aB%2Fc"
        with Daemon() as daemon:
            daemon.answers("microsoft",
                           (200, {"displayName": "Enid Tra"}),
                           (200, {"@odata.nextLink": following, "value": [{"id": "1"}, {"id": "2"}]}),
                           (200, {"value": [{"id": "3"}]}),
                           (202, "", {}),
                           (403, {"error": {"code": "accessDenied", "message": "No permission for the action."}}))
            got = daemon.node(PAGE, "call_graph.mjs", ENTRA)
            calls = daemon.calls("microsoft")
        self.assertEqual(got["me"]["displayName"], "Enid Tra")
        self.assertEqual(got["listed"], ["1", "2", "3"])
        self.provider_refused(got["refused"], "GraphError", 403, "missing_scope")
        self.assertEqual(got["refused"]["code"], "accessDenied")
        self.daemon_refused(got["forbidden"], "GraphError")
        wanted = [("GET", "/v1.0/me?$select=displayName"), ("GET", "/v1.0/me/messages"),
                  ("GET", "/v1.0/me/messages?$skiptoken=aB%2Fc"), ("POST", "/v1.0/me/sendMail"),
                  ("GET", "/v1.0/me/drive")]
        self.assertEqual(len(calls), len(wanted), calls)
        for call, (method, target) in zip(calls, wanted):
            self.sent(call, method, target)


if __name__ == "__main__":
    unittest.main()

"""curl uploads and reads event streams through the daemon with the very lines of the guide."""

import hashlib
import os
import re
import subprocess
import unittest

from environment import ENVIRONMENT, GOOGLE, TIMEOUT, Daemon, header, snippets

(COMMANDS,) = [block for block in snippets("proxy.md", "sh") if "--upload-file" in block]
UPLOAD, EVENTS = COMMANDS.strip().splitlines()
# More than a megabyte, from which size curl waits for `100 Continue`.
CONTENT = os.urandom(2_000_000)


def settings(daemon, name):
    return {"S": daemon.socket, "BASE": f"/v1/users/{GOOGLE.replace('|', '%7C')}/proxy/google-oauth2/{name}"}


class Curl(unittest.TestCase):
    def upload(self, daemon, name):
        (daemon.directory / "report.pdf").write_bytes(CONTENT)
        line = UPLOAD.replace("curl ", "curl --silent --show-error --verbose ")
        environment = ENVIRONMENT | settings(daemon, name)
        ran = subprocess.run(["sh", "-c", line], cwd=daemon.directory, env=environment, timeout=TIMEOUT,
                             capture_output=True, text=True)
        self.assertRegex(ran.stderr, "(?i)> expect: 100-continue")
        return ran

    def test_uploads(self):
        with Daemon() as daemon:
            ran = self.upload(daemon, "large")
            (call,) = daemon.calls("google")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("< HTTP/1.1 100 Continue", ran.stderr)
        self.assertEqual((call["method"], call["target"]), ("PUT", "/upload"))
        self.assertEqual(call["body_sha256"], hashlib.sha256(CONTENT).hexdigest())
        self.assertEqual(header(call, "expect"), [])

    def test_is_refused_before_it_sends_the_body(self):
        with Daemon() as daemon:
            ran = self.upload(daemon, "gmail")
            calls = daemon.calls("google")
        self.assertIn("body_too_large", ran.stdout)
        self.assertIn("< HTTP/1.1 413", ran.stderr)
        self.assertNotIn("100 Continue", ran.stderr)
        self.assertNotRegex(ran.stderr, "completely uploaded")
        self.assertEqual(calls, [])

    def test_reads_events_as_they_come(self):
        with Daemon() as daemon:
            line = re.sub("/events", "/events?every=50", EVENTS)
            environment = ENVIRONMENT | settings(daemon, "gmail")
            reading = subprocess.Popen(["sh", "-c", f"exec {line}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       text=True, env=environment)
            try:
                # The stream has no end: each of these lines came while it was open.
                lines = [reading.stdout.readline() for _ in range(6)]
            finally:
                reading.kill()
                reading.wait()
                reading.stdout.close()
        self.assertTrue(any(line.startswith("data:") for line in lines), lines)


if __name__ == "__main__":
    unittest.main()

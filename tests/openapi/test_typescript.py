"""What openapi-typescript generates type-checks against calls.ts, which calls every operation."""

import shutil
import subprocess
import unittest

from environment import DESCRIPTIONS, GENERATED, ROOT, Demo, operations

PACKAGES = ROOT / "target/openapi-node"


class TypeScript(unittest.TestCase):
    def run_in(self, directory, *command):
        ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return ran.stdout

    def every_operation(self, version):
        directory = GENERATED / f"typescript-{version}"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (directory / "node_modules").symlink_to(PACKAGES / "node_modules")
        (directory / "package.json").write_text('{ "type": "module" }\n')
        shutil.copy(ROOT / "tests/openapi/calls.ts", directory)
        programs = PACKAGES / "node_modules/.bin"
        self.run_in(directory, programs / "openapi-typescript", DESCRIPTIONS[version], "--output", "cloakroom.d.ts")
        self.run_in(directory, programs / "tsc", "--strict", "--target", "es2022", "--module", "nodenext",
                    "--types", "node", "calls.ts")
        with Demo() as demo:
            called = self.run_in(directory, "node", "calls.js", demo.socket, demo.user_token)
        wanted = {f"{method.upper()} {path}" for path, method, _ in operations()}
        self.assertEqual(set(called.splitlines()), wanted)

    def test_a_client_of_3_1_calls_every_operation(self):
        self.every_operation("3.1")

    def test_a_client_of_3_0_calls_every_operation(self):
        self.every_operation("3.0")


if __name__ == "__main__":
    unittest.main()

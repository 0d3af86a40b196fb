"""What openapi-typescript generates type-checks against calls.ts, which calls every operation: some in lines of its own, the
others in a file that is generated here."""

import json
import shutil
import subprocess
import unittest

from environment import DESCRIPTIONS, GENERATED, GOOGLE, ROOT, Demo, body_of, operations, sample

PACKAGES = ROOT / "target/openapi-node"
CALLS = ROOT / "tests/openapi/calls.ts"
OTHERS = """\
import type {{ Client }} from "openapi-fetch";
import type {{ paths }} from "./cloakroom.js";

type Got = (operation: string, described: number[], answer: {{ response: Response }}) => void;

export async function callTheOthers(client: Client<paths>, headers: Record<string, string>, got: Got) {{
{calls}
}}
"""


def others():
    """A call of each operation that calls.ts has no line for."""
    written, calls = CALLS.read_text(), []
    for path, method, operation in operations():
        name = json.dumps(f"{method.upper()} {path}")
        if name in written:
            continue
        options = ['parseAs: "text"', "headers"]
        if "{user_id}" in path:
            options.append(f"params: {{ path: {{ user_id: {json.dumps(GOOGLE)} }} }}")
        if body := body_of(operation):
            options.append(f"body: {json.dumps(sample(body))}")
        call = f"await client.{method.upper()}({json.dumps(path)}, {{ {', '.join(options)} }})"
        described = ", ".join(operation["responses"])
        calls.append(f"  got({name}, [{described}], {call});")
    return OTHERS.format(calls="\n".join(calls))


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
        shutil.copy(CALLS, directory)
        (directory / "others.ts").write_text(others())
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

"""Alerts: right in themselves, each with a case in which it fires and one in which it does not, and with a runbook."""

import re
import shutil
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

import files
import promql


class Rules(unittest.TestCase):
    def test_promtool_has_nothing_to_say_against_them(self):
        for arguments in [("check", "rules", files.RULES), ("test", "rules", files.RULE_TESTS)]:
            code, said = files.promtool(*arguments)
            self.assertEqual(code, 0, said)

    def test_promtool_accepts_the_configuration_for_a_host(self):
        code, said = files.promtool("check", "config", files.RULES.with_name("host.yml"))
        self.assertEqual(code, 0, said)

    def test_the_operators_example_scrapes_the_port_that_the_others_do(self):
        read = lambda name: yaml.safe_load(files.RULES.with_name(name).read_text())
        endpoint, = read("podmonitor.yaml")["spec"]["podMetricsEndpoints"]
        named = read("kubernetes.yml")["scrape_configs"][0]["relabel_configs"][0]["regex"]
        self.assertEqual(named, f"cloakroom;{endpoint['port']}")
        self.assertRegex(read("podmonitor.yaml")["metadata"]["name"], r"^cloakroom$", "the rules go by it")

    def test_what_its_page_says_to_type_makes_what_it_says(self):
        page = files.RULES.with_name("README.md").read_text()
        blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        with tempfile.TemporaryDirectory() as directory:
            shutil.copy(files.RULES, directory)
            for block in blocks:
                if "promtool" in block or "curl" in block:
                    continue
                block = block.replace("kubectl apply -f -", "cat >applied.yml")
                subprocess.run(["bash", "-euc", block], cwd=directory, check=True)
            made = [yaml.safe_load(Path(directory, name).read_text()) for name in ["rules.yml", "applied.yml"]]
        self.assertEqual((made[1]["apiVersion"], made[1]["kind"]), ("monitoring.coreos.com/v1", "PrometheusRule"))
        self.assertEqual(made[1]["spec"], made[0])
        for rule in made[0]["groups"][0]["rules"]:
            self.assertRegex(rule["annotations"]["runbook_url"], r"^https://wiki\.example/cloakroom/guides/operations\.md#c")

    def test_every_alert_says_how_urgent_it_is_what_it_means_and_where_to_read_on(self):
        anchors = files.anchors(files.OPERATIONS)
        for rule in files.rules():
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], {"critical", "warning"})
                self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook"})
                self.assertIn("$labels.instance", rule["annotations"]["summary"])
                page, anchor = rule["annotations"]["runbook"].split("#")
                self.assertEqual(files.ROOT / page, files.OPERATIONS)
                self.assertEqual(anchor, rule["alert"].lower())
                self.assertIn(anchor, anchors, "there is no such heading")

    def test_every_runbook_is_about_an_alert_that_there_is(self):
        headings = re.findall(r"^#+ (Cloakroom[A-Z]\w+)$", files.OPERATIONS.read_text(), re.MULTILINE)
        self.assertEqual(sorted(headings), sorted(rule["alert"] for rule in files.rules()))

    def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_never_does(self):
        fires, quiet = set(), set()
        for case in files.rule_tests():
            expected = {}
            for check in case["alert_rule_test"]:
                expected.setdefault(check["alertname"], []).append(bool(check["exp_alerts"]))
            fires |= {name for name, alerts in expected.items() if any(alerts)}
            quiet |= {name for name, alerts in expected.items() if not any(alerts)}
        every = {rule["alert"] for rule in files.rules()}
        self.assertEqual(fires, every)
        self.assertEqual(quiet, every)

    def test_the_cases_notice_when_a_rule_is_broken(self):
        every = [(rule["alert"], *mutation) for rule in files.rules() for mutation in mutations(rule)]
        self.assertGreaterEqual(len(every), 4 * len(files.rules()))
        with ThreadPoolExecutor(4) as pool:
            survived = [f"{name}: {what}" for (name, what, _), noticed in zip(every, pool.map(noticed_by, every))
                        if not noticed]
        self.assertEqual(survived, [])


def mutations(rule):
    """Ways to break a rule."""
    tree = promql.parse(rule["expr"])
    yield "never fires", rule | {"expr": f"({rule['expr']}) and vector(1) < 0"}
    yield "always fires", rule | {"expr": promql.text(promql.unfiltered(tree))}
    yield "is of another severity", rule | {"labels": {"severity": "other"}}
    if "for" in rule:
        yield "does not wait", {key: value for key, value in rule.items() if key != "for"}
        yield "waits for too long", rule | {"for": "45m"}
    else:
        yield "waits", rule | {"for": "45m"}
    for part in promql.every(tree):
        if isinstance(part, promql.Binary) and part.operator in promql.COMPARISONS:
            without = promql.text(tree).replace(promql.text(part), promql.text(promql.unfiltered(part)))
            yield f"does not ask for {promql.text(part)}", rule | {"expr": without}
        if isinstance(part, promql.Binary) and part.operator in promql.SETS:
            without = promql.text(tree).replace(promql.text(part), promql.text(part.left))
            yield f"does without its {part.operator} {promql.text(part.right)}", rule | {"expr": without}


def noticed_by(mutation):
    name, _, broken = mutation
    cases = [case for case in files.rule_tests()
             if any(check["alertname"] == name for check in case["alert_rule_test"])]
    with tempfile.TemporaryDirectory() as directory:
        rules, tests = Path(directory, "rules.yml"), Path(directory, "tests.yml")
        rules.write_text(yaml.safe_dump({"groups": [{"name": "broken", "rules": [broken]}]}))
        tests.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": cases}))
        checked, said = files.promtool("check", "rules", rules)
        if checked:
            raise AssertionError(f"{name} is broken in another way than meant: {said}")
        return files.promtool("test", "rules", tests)[0] != 0


if __name__ == "__main__":
    unittest.main()

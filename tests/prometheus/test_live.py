"""A real Prometheus scrapes a real daemon while callers ask it for all sorts of things.

Then everything that the alerts and the dashboard would show has to be there: each expression in each of its parts, so
that a misspelt metric or label is found wherever it stands.
"""

import json
import math
import os
import re
import shutil
import tempfile
import time
import unittest
from pathlib import Path

import environment as env
import files
import promql

INTERVAL = "500ms"
# What Grafana would put there; the whole test fits into it.
WINDOW = "5m"


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="cloakroom-prometheus-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.tenant = env.Tenant(cls.directory)
        cls.addClassCleanup(cls.tenant.stop)
        # The first Management token cannot be had, so that there is a failure to count.
        cls.tenant.order("refuse")
        cls.daemon = env.Daemon(cls.directory, cls.tenant)
        cls.addClassCleanup(cls.daemon.stop)
        cls.callers = env.Callers(cls.daemon)
        cls.prometheus = env.Prometheus(cls.directory, env.scrape_configs(cls.daemon, INTERVAL))
        cls.addClassCleanup(cls.prometheus.stop)
        failed = 'cloakroom_management_token_refreshes_total{result="failure"}'
        env.until("a grant has failed", lambda: cls.sample(failed) >= 1)
        cls.tenant.order("clear")
        waited = cls.daemon.command("wait", "--timeout", f"{env.TIMEOUT}s")
        assert waited.returncode == 0, waited
        cls.two_scrapes()
        for _ in range(2):
            cls.traffic()
            cls.two_scrapes()
        # The limit last: what it closes stays closed for up to a minute.
        cls.tenant.order("limit")
        cls.callers.token("auth0|beyond-the-limit")
        cls.two_scrapes()
        cls.text = cls.daemon.metrics()
        cls.now = time.time()

    @classmethod
    def sample(cls, name):
        """From the daemon itself."""
        match = re.search(rf"^{re.escape(name)} (\S+)$", cls.daemon.metrics(), re.MULTILINE)
        return float(match.group(1)) if match else 0.0

    @classmethod
    def two_scrapes(cls):
        """What has been counted so far is in Prometheus, and was for two scrapes."""
        counted = 'count_over_time(cloakroom_build_info{instance="web-1"}[10m])'
        seen = lambda: sum(int(value) for _, value in cls.prometheus.query(counted, time.time()))
        before = seen()
        env.until("two more scrapes", lambda: seen() >= before + 3)

    @classmethod
    def traffic(cls):
        """Every sort of request that the daemon has an own count for."""
        ask, daemon = cls.callers, cls.daemon
        for user in [*env.USERS, *env.USERS, env.WITHOUT_TOKEN, env.EXPIRED, env.BLOCKED, "auth0|unknown"]:
            ask.token(user)
        ask.ask("/v1/users/github%7C583231/identities")
        ask.ask("/v1/status")
        # Many at once, of one user and of several, while Auth0 takes its time.
        cls.tenant.order("latency 300")
        assert daemon.command("purge", env.GOOGLE).returncode == 0
        ask.answers["/v1/users/{user_id}", 204] += 1
        ask.at_once([env.GOOGLE] * 6 + env.USERS)
        cls.tenant.order("clear")
        # Refused, for each reason there is.
        ask.token(env.GOOGLE, meant=False)
        ask.ask("/v1/status", "X-Forwarded-For: 192.0.2.1")
        ask.ask("/v1/management-token")
        ask.ask("/v1/me/token", "Authorization: Bearer none")
        for _ in range(3):
            ask.token(env.GOOGLE, through=daemon.rationed)
        ask.ask("/v1/nowhere")
        # The provider of one connection answers in every way there is.
        for order, outcome in [("limit", "throttled"), ("fail", "failed"), ("refuse", "misconfigured"),
                               ("clear", "issued")]:
            cls.tenant.order(f"provider {order}")
            cls.renew_until(outcome)
        # Calls of an API that end in every way there is.
        for tail, expected in [("/items", (200, True)), ("/stall", (504, False)), ("/hang-up", (503, False)),
                               ("/cut?after=10&bytes=50", (200, True)), ("/stall-body?after=10", (200, True)),
                               ("/download?bytes=2000&chunked", (200, True))]:
            answer = ask.call(env.GOOGLE, tail)
            assert answer == expected, (tail, answer)
        dead = {"status": 401, "headers": {"www-authenticate": 'Bearer error="invalid_token"'}, "body": ""}
        cls.tenant.order(f"api google answer {json.dumps(dead)}")
        answer = ask.call(env.LINKED, "/items")
        assert answer in [(401, True), None], answer
        # Looked up once more, in vain: Auth0 has the same token.
        ask.outcomes["negative"] += answer is not None
        # Two seconds later what is held is due, and Auth0 cannot be asked.
        ask.at_once(env.USERS)
        time.sleep(2.1)
        cls.tenant.order("refuse")
        ask.token(env.GOOGLE)
        ask.token(f"auth0|unknown-{len(ask.answers)}")
        cls.tenant.order("clear")
        cls.reload()

    @classmethod
    def renew_until(cls, outcome):
        """The source waits between failures, and is asked again once a user is forgotten or a reload has come."""
        counted = "cloakroom_source_requests_total{" + ",".join(
            f'{label}="{value}"' for label, value in
            [("source", "refresh"), ("connection", "gitlab"), ("outcome", outcome)]) + "}"
        before = cls.sample(counted)

        def renewed():
            cls.callers.purge(env.RENEWED)
            cls.callers.token(env.RENEWED, "?connection=gitlab")
            time.sleep(0.2)
            return cls.sample(counted) > before

        env.until(f"a renewal is {outcome}", renewed)

    @classmethod
    def reload(cls):
        """A wrong configuration, and the right one again."""
        cls.daemon.configure("[cache]\nmax_tll = 1\n")
        refused = cls.daemon.command("reload")
        assert refused.returncode == 78, refused
        cls.daemon.configure()
        accepted = cls.daemon.command("reload")
        assert accepted.returncode == 0, accepted
        cls.callers.answers["/v1/reload", 422] += 1
        cls.callers.answers["/v1/reload", 200] += 1

    # The daemon's text.

    def test_promtool_has_nothing_to_say_against_the_metrics(self):
        code, said = files.promtool("check", "metrics", input=self.text)
        self.assertEqual((code, said), (0, ""))

    def test_every_metric_of_the_contract_is_there_with_its_type_and_its_labels(self):
        types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", self.text, re.MULTILINE))
        self.assertEqual(types, {name: kind for name, (kind, _) in files.contract().items()})
        found = {}
        for name, labels in re.findall(r"^([a-z]\w*)(?:\{(.*)\})? ", self.text, re.MULTILINE):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            found.setdefault(base if base in types else name, set()).update(
                re.findall(r'(\w+)="', labels.replace('le="', "")))
        self.assertEqual(found, {name: labels for name, (_, labels) in files.contract().items()})

    def test_no_metric_names_a_user_or_holds_a_token(self):
        for forbidden in ["103547991597142817347", "583231", "ya29", "gho_", "demo-client-secret", "auth0|", "%7C"]:
            self.assertNotIn(forbidden, self.text)

    # What Prometheus has of it.

    def test_what_callers_were_told_is_what_was_counted(self):
        counted = {(labels["route"], int(labels["status"])): int(value) for labels, value in self.query(
            'cloakroom_responses_total{instance="web-1",route!~"/metrics|/livez|/readyz|/startupz"}')}
        self.assertEqual(counted, dict(self.callers.answers))
        outcomes = {labels["outcome"]: int(value) for labels, value in self.query(
            'cloakroom_lookups_total{instance="web-1"}')}
        self.assertEqual(outcomes, dict(self.callers.outcomes))
        self.assertTrue(all(outcomes[outcome] for outcome in ["hit", "miss", "stale", "negative", "error"]), outcomes)

    def test_trouble_shows_while_it_lasts(self):
        for metric in ["up", "cloakroom_management_token_valid", "cloakroom_upstream_gate_closed"]:
            values = [value for labels, value in self.query(metric) if labels["instance"] == "web-1"]
            self.assertEqual(values, ["1"], metric)
        results = {labels["result"] for labels, _ in self.query("cloakroom_upstream_requests_total")}
        # Where the machine is slow there may be a timeout as well.
        self.assertLessEqual({"200", "404", "429", "connect"}, results)

    def test_the_examples_find_the_daemon_and_nothing_else(self):
        targets = self.prometheus.get("targets")["activeTargets"]
        found = sorted((target["scrapePool"], target["labels"]["job"], target["labels"]["instance"])
                       for target in targets)
        self.assertEqual(found, [("annotated-pods", "cloakroom", "shop/web-1"), ("cloakroom", "cloakroom", "web-1"),
                                 ("cluster", "cluster", "shop/web-1")])
        self.assertEqual({target["health"] for target in targets}, {"up"}, targets)

    def test_every_part_of_every_alert_returns_data(self):
        for rule in files.rules():
            with self.subTest(rule["alert"]):
                result = self.examine(rule["expr"])
                texts = " ".join(rule["annotations"].values())
                self.shown(re.findall(r"\$labels\.(\w+)", texts), result)

    def test_every_part_of_every_panel_returns_data(self):
        board = files.dashboard()
        panels = [panel for panel in files.panels(board) if panel["type"] != "row"]
        queries = [(panel["title"], target["expr"], target["legendFormat"])
                   for panel in panels for target in panel["targets"]]
        queries += [(note["name"], note["expr"], note["titleFormat"]) for note in board["annotations"]["list"]]
        self.assertGreater(len(queries), 40)
        for title, expression, legend in queries:
            with self.subTest(title):
                for name, value in {"$__rate_interval": WINDOW, "$__range": WINDOW, "$job": ".+",
                                    "$instance": ".+"}.items():
                    expression = expression.replace(name, value)
                self.shown(re.findall(r"\{\{(\w+)\}\}", legend), self.examine(expression))

    def test_the_dashboards_choices_are_there(self):
        variables = [v for v in files.dashboard()["templating"]["list"] if v["type"] == "query"]
        self.assertEqual(len(variables), 2)
        for variable in variables:
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            result = self.query(selector.replace("$job", ".+"))
            self.assertTrue(all(labels.get(label) for labels, _ in result) and result, variable)

    def test_the_rules_are_evaluated_and_what_happened_is_noticed(self):
        rules = [rule for group in self.prometheus.get("rules")["groups"] for rule in group["rules"]]
        self.assertEqual({rule["name"] for rule in rules}, {rule["alert"] for rule in files.rules()})
        self.assertEqual({rule["health"] for rule in rules}, {"ok"}, rules)
        firing = {rule["name"]: rule["alerts"] for rule in rules if rule["state"] == "firing"}
        # It is the one that waits for nothing and has had a reason; a test is too short for the others.
        self.assertIn("CloakroomForwardedRequests", firing)
        said = {alert["annotations"]["summary"] for alert in firing["CloakroomForwardedRequests"]}
        self.assertIn("cloakroom at web-1 refused forwarded requests", said)
        critical = {rule["name"] for rule in rules if rule["labels"]["severity"] == "critical"}
        self.assertFalse(critical & set(firing), firing)

    # How expressions are looked into.

    def query(self, expression):
        return self.prometheus.query(expression, self.now)

    def examine(self, expression):
        """Looks at each part on its own; returns what the whole would show if nothing were filtered."""
        tree = promql.parse(expression)
        self.assertEqual(self.query(expression), self.query(promql.text(tree)), "it was not understood")
        for selector in promql.selectors(tree):
            self.select(selector)
        whole = promql.unfiltered(tree)
        for part in promql.every(whole):
            if not promql.scalar(part) and not isinstance(part, promql.Selector):
                self.evaluate(part)
        result = self.query(promql.text(whole))
        self.assertTrue(any(not math.isnan(float(value)) for _, value in result), f"only NaN: {promql.text(whole)}")
        return result

    def select(self, selector):
        """Something matches, each alternative of each matcher does, and what is excluded exists."""
        everything = self.query(selector.metric)
        self.assertTrue(everything, f"there is no {selector.metric}")
        self.assertTrue(self.query(promql.text(promql.replace(selector, window=""))), promql.text(selector))
        for matcher in selector.matchers:
            positive = matcher.operator.replace("!=", "=").replace("!~", "=~")
            alternatives = matcher.value.strip('"').split("|") if positive == "=~" else [matcher.value.strip('"')]
            for value in alternatives:
                one = f'{selector.metric}{{{matcher.label}{positive}"{value}",{matcher.label}!=""}}'
                self.assertTrue(self.query(one), f"nothing is {one}")

    def evaluate(self, part):
        text = promql.text(part)
        result = self.query(text)
        self.assertTrue(result, f"no data: {text}")
        if isinstance(part, promql.Aggregation):
            within = result if part.grouping == "by" else self.query(promql.text(part.arguments[-1]))
            self.shown(part.labels, within)
        if isinstance(part, promql.Binary) and part.matching.how:
            sides = [self.query(promql.text(side)) for side in (part.left, part.right)]
            for label in part.matching.labels:
                there = [any(labels.get(label) for labels, _ in side) for side in sides]
                self.assertTrue(all(there) if part.matching.how == "on" else any(there), f"{label} in {text}")

    def shown(self, names, result):
        for name in names:
            self.assertTrue(any(labels.get(name) for labels, _ in result), f"no series has the label {name}")


if __name__ == "__main__":
    unittest.main()

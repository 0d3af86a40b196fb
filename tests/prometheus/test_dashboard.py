"""The dashboard as a file: whether Grafana can show it. test_live.py asks whether there is anything to show."""

import itertools
import json
import re
import subprocess
import sys
import unittest

import files
import promql

VARIABLES = ["datasource", "job", "instance"]


class Dashboard(unittest.TestCase):
    def setUp(self):
        self.board = files.dashboard()
        self.panels = list(files.panels(self.board))
        self.shown = [panel for panel in self.panels if panel["type"] != "row"]

    def test_it_is_what_the_generator_writes(self):
        generator = files.DASHBOARD.with_name("generate.py")
        written = subprocess.run([sys.executable, "-B", generator], capture_output=True, text=True, check=True).stdout
        self.assertEqual(files.DASHBOARD.read_text(), written)

    def test_it_has_what_grafana_10_needs(self):
        self.assertGreaterEqual(self.board["schemaVersion"], 38)
        self.assertRegex(self.board["uid"], r"^[a-z-]{1,40}$")
        self.assertTrue(self.board["title"])
        self.assertIsNone(self.board["id"])
        self.assertEqual([variable["name"] for variable in self.board["templating"]["list"]], VARIABLES)
        self.assertLessEqual({panel["type"] for panel in self.panels}, {"row", "stat", "timeseries"})

    def test_panels_have_their_own_ids_and_places(self):
        ids = [panel["id"] for panel in self.panels]
        self.assertEqual(len(set(ids)), len(ids))
        taken = {}
        for panel in self.panels:
            at = panel["gridPos"]
            self.assertTrue(0 <= at["x"] and at["x"] + at["w"] <= 24 and at["w"] > 0 and at["h"] > 0, panel["title"])
            columns, lines = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
            for cell in itertools.product(columns, lines):
                self.assertNotIn(cell, taken, f"{panel['title']} lies on {taken.get(cell)}")
                taken[cell] = panel["title"]

    def test_it_answers_in_the_order_in_which_one_asks(self):
        rows = sorted((panel for panel in self.panels if panel["type"] == "row"), key=lambda row: row["gridPos"]["y"])
        self.assertEqual([row["title"] for row in rows], [
            "Is it healthy?", "Is it worth it?", "Who waits?", "How near is the tenant's limit?",
            "Are tokens renewed?", "Do calls reach the APIs?", "What are clients answered?", "Cache", "Process",
            "What else is measured?"])

    def test_every_panel_has_a_title_and_says_how_to_read_it(self):
        titles = [panel["title"] for panel in self.panels]
        self.assertEqual(len(set(titles)), len(titles))
        for panel in self.panels:
            self.assertTrue(panel["title"])
            self.assertRegex(panel["description"], r"^[A-Z0-9][^\n]{15,}\.$", panel["title"])

    def test_every_query_is_for_the_data_source_and_the_daemons_that_were_chosen(self):
        for panel in self.shown:
            with self.subTest(panel["title"]):
                self.assertTrue(panel["targets"])
                self.assertEqual(len({target["refId"] for target in panel["targets"]}), len(panel["targets"]))
                for part in [panel, *panel["targets"]]:
                    self.assertEqual(part["datasource"], {"type": "prometheus", "uid": "${datasource}"})
                for target in panel["targets"]:
                    for selector in promql.selectors(promql.parse(target["expr"])):
                        chosen = {(m.label, m.operator, m.value) for m in selector.matchers}
                        wanted = {(name, "=~", f'"${name}"') for name in VARIABLES[1:]}
                        self.assertLessEqual(wanted, chosen, promql.text(selector))

    def test_every_metric_it_names_exists_and_no_metric_is_forgotten(self):
        text = json.dumps([target["expr"] for panel in self.shown for target in panel["targets"]])
        named = set(re.findall(r"\b(?:cloakroom|process)_\w+", text))
        known = set(files.sample_names())
        self.assertLessEqual(named, known)
        left_out = {name for name in files.contract() if not any(shown.startswith(name) for shown in named)}
        self.assertEqual(left_out, set())


if __name__ == "__main__":
    unittest.main()

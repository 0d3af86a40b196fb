"""What is tested, as data."""

import json
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
RULE_TESTS = ROOT / "deploy/prometheus/rules_test.yml"
DASHBOARD = ROOT / "deploy/grafana/cloakroom.json"
OPERATIONS = ROOT / "docs/guides/operations.md"
CONTRACT = Path(__file__).with_name("contract.txt")


def rules():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_tests():
    return yaml.safe_load(RULE_TESTS.read_text())["tests"]


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels(board):
    """The panels, those of folded rows included."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def contract():
    """Name, type and labels of each metric."""
    lines = [line.split() for line in CONTRACT.read_text().splitlines() if not line.startswith("#")]
    return {name: (kind, set(labels)) for name, kind, *labels in lines}


def sample_names():
    """The names under which Prometheus keeps them."""
    for name, (kind, _) in contract().items():
        yield from [f"{name}_{part}" for part in ("bucket", "sum", "count")] if kind == "histogram" else [name]


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def promtool(*arguments, **options):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)
    return done.returncode, done.stdout + done.stderr

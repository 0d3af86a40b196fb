#!/usr/bin/env python3
"""Writes cloakroom.json: `python3 generate.py > cloakroom.json`. The check of this project compares the two."""

import json
import re
import sys
from pathlib import Path

# Name, type and labels of each metric, generated from the table of metrics.
CONTRACT = Path(__file__).parents[2] / "tests/prometheus/contract.txt"
HERE = 'job=~"$job",instance=~"$instance"'
GREEN, YELLOW, RED = "green", "yellow", "red"
BAD_IF_1 = [(None, GREEN), (1, RED)]


def here(expression):
    """METRIC{…} of the chosen daemons: `@` stands for the two labels that every metric is chosen by."""
    return expression.replace("@", HERE)


class Board:
    def __init__(self):
        self.panels, self.x, self.y, self.height = [], 0, 0, 0

    def place(self, width, height):
        if self.x + width > 24:
            self.x, self.y, self.height = 0, self.y + self.height, 0
        at = {"x": self.x, "y": self.y, "w": width, "h": height}
        self.x, self.height = self.x + width, max(self.height, height)
        return at

    def add(self, kind, width, height, title, description, **more):
        panel = {"id": len(self.panels) + 1, "type": kind, "title": title, "description": description,
                 "gridPos": self.place(width, height)}
        self.panels.append(panel | more)

    def row(self, title, description):
        self.x = 24
        self.add("row", 24, 1, title, description, collapsed=False, panels=[])

    def stat(self, title, description, expression, unit="none", steps=((None, GREEN),), texts=None, width=4,
             legend="{{instance}}", shows="auto", **more):
        config = {"unit": unit, "thresholds": thresholds(steps), "color": {"mode": "thresholds"}, "mappings": []}
        if texts:
            options = {str(value): {"text": text, "index": n} for n, (value, text) in enumerate(texts.items())}
            config["mappings"] = [{"type": "value", "options": options}]
        self.add("stat", width, 4, title, description, datasource=source(),
                 targets=[target("A", expression, legend, instant=True)],
                 fieldConfig={"defaults": config | more, "overrides": []},
                 options={"colorMode": "background", "graphMode": "none", "justifyMode": "auto", "textMode": shows,
                          "orientation": "auto",
                          "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}})

    def graph(self, title, description, *lines, unit="none", stacked=False, width=12, steps=None, **more):
        custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 25 if stacked else 5, "showPoints": "never",
                  "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
                  "thresholdsStyle": {"mode": "line" if steps else "off"}}
        config = {"unit": unit, "custom": custom, "color": {"mode": "palette-classic"}, "min": 0, "mappings": [],
                  "thresholds": thresholds(steps or [(None, GREEN)])}
        self.add("timeseries", width, 8, title, description, datasource=source(),
                 targets=[target(chr(ord("A") + n), *line) for n, line in enumerate(lines)],
                 fieldConfig={"defaults": config | more, "overrides": []},
                 options={"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
                          "tooltip": {"mode": "multi", "sort": "desc"}})


def source():
    return {"type": "prometheus", "uid": "${datasource}"}


def target(letter, expression, legend, instant=False):
    return {"refId": letter, "datasource": source(), "expr": here(expression), "legendFormat": legend,
            "editorMode": "code", "instant": instant, "range": not instant}


def thresholds(steps):
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def variable(name, label, **more):
    return {"name": name, "label": label, "hide": 0, "skipUrlSync": False, "current": {}, "options": []} | more


def choice(name, label, query):
    return variable(name, label, type="query", datasource=source(), query={"query": query, "refId": name},
                    definition=query, refresh=2, sort=1, multi=True, includeAll=True, allValue=".+",
                    regex="", current={"selected": True, "text": ["All"], "value": ["$__all"]})


def quantile(share, by, metric):
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket{{@}}[$__rate_interval])))"


def fill(board):
    board.row("Is it healthy?", "Everything here should be green. If it is not: docs/guides/operations.md, Runbook.")
    board.stat("Is it there?", "Whether Prometheus reaches it. Red: clients probably do not either.",
               "up{@}", steps=[(None, RED), (1, GREEN)], texts={0: "no", 1: "yes"})
    board.stat("Is there a Management token?",
               "Without one no user can be asked for; what is cached is still served.",
               "cloakroom_management_token_valid{@}", steps=[(None, RED), (1, GREEN)], texts={0: "no", 1: "yes"})
    board.stat("When does it expire?",
               "The Management token's end. It is renewed long before, at management.refresh_at of its life. Near its "
               "end it has not been.",
               "cloakroom_management_token_expiry_timestamp_seconds{@} - time()", "s",
               [(None, RED), (300, YELLOW), (3600, GREEN)])
    board.stat("When is it renewed?",
               "The next attempt. A few seconds or minutes, again and again, means that attempts fail.",
               "cloakroom_management_token_next_refresh_timestamp_seconds{@} - time()", "s")
    board.stat("How many lookups fail?",
               "Share of lookups without an answer, for reasons that are not the user's. That there is no such user, "
               "say, does not count.",
               'sum by (instance) (rate(cloakroom_lookups_total{outcome="error",@}[$__rate_interval]))'
               " / sum by (instance) (rate(cloakroom_lookups_total{@}[$__rate_interval]))", "percentunit",
               [(None, GREEN), (0.01, YELLOW), (0.05, RED)], noValue="no lookups")
    board.stat("Which version?", "One tile for each version that runs; two during a rollout.",
               "count by (version) (cloakroom_build_info{@})", legend="{{version}}", shows="name")
    board.stat("Is the configuration the one on disk?",
               "Refused: the daemon goes on with the old one, and the next start would fail.",
               "cloakroom_config_last_reload_successful{@}", steps=[(None, RED), (1, GREEN)],
               texts={0: "refused", 1: "yes"})
    board.stat("Is the tenant's limit reached?",
               "Closed: Auth0 answered 429, and nothing is asked until the time that it named.",
               "cloakroom_upstream_gate_closed{@}", steps=BAD_IF_1, texts={0: "no", 1: "closed"})
    board.stat("Is its clock right?", "How far Auth0's clock is ahead. Beyond 5 s expiry times are not what they seem.",
               "abs(cloakroom_clock_skew_seconds{@})", "s", [(None, GREEN), (2, YELLOW), (5, RED)])
    board.stat("Are audit lines lost?", "Lines of the audit log in the time shown that could not be written.",
               "increase(cloakroom_audit_lines_dropped_total{@}[$__range])", "short", BAD_IF_1, decimals=0)
    board.stat("Are log lines lost?", "Lines of the log in the time shown that could not be written.",
               "increase(cloakroom_log_lines_dropped_total{@}[$__range])", "short", BAD_IF_1, decimals=0)
    board.stat("Has it restarted?", "Starts in the time shown, but the first. Each empties the cache.",
               "changes(process_start_time_seconds{@}[$__range])", "short", [(None, GREEN), (1, YELLOW), (3, RED)])
    board.stat("How many reloads were refused?", "Reloads in the time shown whose configuration was wrong.",
               'increase(cloakroom_config_reloads_total{result="failure",@}[$__range])', "short", BAD_IF_1, decimals=0)

    board.row("Is it worth it?", "What clients would have asked Auth0 for, and did not.")
    board.stat("Share answered without Auth0",
               "Lookups whose answer was in the cache. Few: users come back later than cache.max_ttl, or there is no "
               "room for them (see Cache).",
               'sum(rate(cloakroom_lookups_total{outcome=~"hit|stale",@}[$__range]))'
               " / sum(rate(cloakroom_lookups_total{@}[$__range]))", "percentunit",
               [(None, RED), (0.2, YELLOW), (0.5, GREEN)], width=6, noValue="no lookups", legend="")
    board.stat("Lookups for each request to Auth0",
               "How often a user is asked for here while Auth0 is asked once. Refreshing ahead counts as well.",
               "sum(rate(cloakroom_lookups_total{@}[$__range]))"
               ' / sum(rate(cloakroom_upstream_requests_total{endpoint="user",@}[$__range]))', "short",
               [(None, YELLOW), (2, GREEN)], width=6, noValue="no lookups", decimals=1, legend="")
    board.stat("Lookups", "In the time shown, all of them.", "sum(increase(cloakroom_lookups_total{@}[$__range]))",
               "short", width=6, decimals=0, legend="")
    board.stat("Requests to Auth0", "In the time shown: users, Management tokens and keys.",
               "sum(increase(cloakroom_upstream_requests_total{@}[$__range]))", "short", width=6, decimals=0, legend="")
    board.graph("Lookups by outcome",
                "By outcome. hit: from the cache. miss: Auth0 was asked. stale: from the cache, because Auth0 could "
                "not be asked. negative: a fact that is no token. error: no answer.",
                ("sum by (outcome) (rate(cloakroom_lookups_total{@}[$__rate_interval]))", "{{outcome}}"),
                unit="reqps", stacked=True)
    board.graph("Share answered without Auth0, over time",
                "Falls after a restart or a purge, and recovers as users come back.",
                ('sum by (instance) (rate(cloakroom_lookups_total{outcome=~"hit|stale",@}[$__rate_interval]))'
                 " / sum by (instance) (rate(cloakroom_lookups_total{@}[$__rate_interval]))", "{{instance}}"),
                unit="percentunit", max=1)

    board.row("Who waits?", "Hits take microseconds. Other lookups wait for Auth0, or for a turn in the budget.")
    board.graph("How long do lookups take? (99 of 100)",
                "The time within which 99 of 100 lookups were answered, by outcome. A miss takes what Auth0 takes, and "
                "longer if it had to wait for its turn.",
                (quantile(0.99, "outcome", "cloakroom_lookup_duration_seconds"), "{{outcome}}"), unit="s")
    board.graph("How long does Auth0 take?",
                "From the permit to send to the last byte. tenant.request_timeout ends it.",
                (quantile(0.5, "endpoint", "cloakroom_upstream_request_duration_seconds"), "{{endpoint}}, 50 of 100"),
                (quantile(0.99, "endpoint", "cloakroom_upstream_request_duration_seconds"), "{{endpoint}}, 99 of 100"),
                unit="s")
    board.graph("How many requests wait for their turn?",
                "More than none for long: [upstream] is too small for what clients ask, or the tenant's limit is "
                "reached.",
                ("cloakroom_upstream_waiting{@}", "{{instance}}"), unit="short")
    board.graph("How many lookups joined a request under way?",
                "Clients that asked for the same user at the same time: Auth0 was asked once for all of them.",
                ("sum by (instance) (rate(cloakroom_flights_joined_total{@}[$__rate_interval]))", "{{instance}}"),
                unit="reqps")

    board.row("How near is the tenant's limit?", "The limit is shared with everything else that uses the tenant.")
    board.graph("What is left of the tenant's rate limit?",
                "As Auth0's last answer said. Daemons of one tenant see the same limit. At 0 it answers 429.",
                ("cloakroom_upstream_ratelimit_remaining{@}", "{{instance}}"), unit="short")
    board.graph("How often is Auth0 asked?",
                "By endpoint. Compare with upstream.requests_per_second, and with what the tenant allows.",
                ("sum by (endpoint) (rate(cloakroom_upstream_requests_total{@}[$__rate_interval]))", "{{endpoint}}"),
                unit="reqps", stacked=True)
    board.graph("What does Auth0 answer?",
                "Status codes; where there was none, timeout, connect, tls or malformed.",
                ("sum by (result) (rate(cloakroom_upstream_requests_total{@}[$__rate_interval]))", "{{result}}"),
                unit="reqps", stacked=True)
    board.graph("For how much of the time is nothing asked?",
                "Share of the time that the gate was closed by a 429.",
                ("avg_over_time(cloakroom_upstream_gate_closed{@}[$__rate_interval])", "{{instance}}"),
                unit="percentunit", max=1)

    board.row("Are tokens renewed?", "Empty unless a connection has the source refresh or vault.")
    board.graph("What do sources answer?",
                "By connection and outcome. issued: a token. over: the user has to act. misconfigured: an operator has "
                "to. throttled: 429. failed: no usable answer.",
                ("sum by (connection, outcome) (rate(cloakroom_source_requests_total{@}[$__rate_interval]))",
                 "{{connection}}, {{outcome}}"),
                unit="reqps", stacked=True, width=8)
    board.graph("How many renewals fail?",
                "Share of the requests to a source that had no usable answer or were refused, by connection.",
                ('sum by (source, connection) (rate(cloakroom_source_requests_total{'
                 'outcome=~"failed|throttled|misconfigured",@}[$__rate_interval]))'
                 " / sum by (source, connection) (rate(cloakroom_source_requests_total{@}[$__rate_interval]))",
                 "{{connection}}, {{source}}"),
                unit="percentunit", max=1, width=8)
    board.graph("How long do sources take?",
                "Requests to identity providers and to Token Vault. providers.request_timeout ends those to providers.",
                ("histogram_quantile(0.5, sum by (le)"
                 " (rate(cloakroom_source_request_duration_seconds_bucket{@}[$__rate_interval])))", "50 of 100"),
                ("histogram_quantile(0.99, sum by (le)"
                 " (rate(cloakroom_source_request_duration_seconds_bucket{@}[$__rate_interval])))", "99 of 100"),
                unit="s", width=8)
    board.stat("Can the state file be used?",
               "With [state] alone. No: refresh tokens that rotate are not redeemed. Read the log before a restart.",
               "cloakroom_state_usable{@}", steps=[(None, RED), (1, GREEN)], texts={0: "no", 1: "yes"},
               noValue="no state file")
    board.stat("What is in memory alone?",
               "Refresh tokens that could not be written yet. The end of the process loses them.",
               "cloakroom_state_unwritten{@}", "short", BAD_IF_1, decimals=0, noValue="no state file")
    board.stat("Are refresh tokens lost?",
               "Refresh tokens in the time shown that were redeemed and whose successor was lost: their users have to "
               "log in.",
               "increase(cloakroom_refresh_lost_total{@}[$__range])", "short", BAD_IF_1, decimals=0)
    board.stat("Whose refresh tokens rotate?", "Identities whose refresh tokens are in the state file.",
               "cloakroom_state_records{@}", "short", decimals=0, noValue="no state file")
    board.graph("How long do writes to the state file take?", "Until they are durable, 99 of 100.",
                ("histogram_quantile(0.99, sum by (le)"
                 " (rate(cloakroom_state_write_duration_seconds_bucket{@}[$__rate_interval])))", "99 of 100"),
                unit="s", width=8)

    board.row("Do calls reach the APIs?", "Empty unless [[proxy]] or [management_api] is configured.")
    board.graph("How do calls end?",
                "By API and end. whole: as it should be. left: the client left. cut_short, silent, too_large: the "
                "answer broke off. Otherwise there was no answer, for this reason.",
                ("sum by (api, end) (rate(cloakroom_calls_total{@}[$__rate_interval]))", "{{api}}, {{end}}"),
                unit="reqps", stacked=True, width=8)
    board.graph("What do APIs answer?", "By API and class of the status; none: no answer.",
                ("sum by (api, status) (rate(cloakroom_calls_total{@}[$__rate_interval]))", "{{api}}, {{status}}"),
                unit="reqps", stacked=True, width=8)
    board.graph("What do refusals mean?",
                "By connection and verdict. token_dead: a login is due. missing_scope: a login with more scopes. "
                "rate_limited: the provider's limit.",
                ('sum by (connection, verdict) (rate(cloakroom_calls_total{verdict!="none",@}[$__rate_interval]))',
                 "{{connection}}, {{verdict}}"),
                unit="reqps", stacked=True, width=8)
    board.graph("How long do calls wait?",
                "From the head of the call to the head of its answer, 99 of 100, by API: the lookup, the request's "
                "body, and the provider.",
                (quantile(0.99, "api", "cloakroom_call_head_duration_seconds"), "{{api}}"), unit="s", width=8)
    board.graph("How much is sent?", "Bytes of bodies, by API.",
                ("sum by (api) (rate(cloakroom_call_sent_bytes_total{@}[$__rate_interval]))", "{{api}}, sent"),
                ("sum by (api) (rate(cloakroom_call_received_bytes_total{@}[$__rate_interval]))", "{{api}}, received"),
                unit="Bps", width=8)
    board.graph("How many streams are taken?",
                "Share of listener.max_streams. One uid may have half.",
                ("cloakroom_streams{@} / cloakroom_max_streams{@}", "{{instance}}"), unit="percentunit", max=1, width=8)
    board.stat("How many calls were repeated?", "In the time shown, with another token after the first was refused.",
               "sum by (connection) (increase(cloakroom_call_repetitions_total{@}[$__range]))", "short", decimals=0,
               legend="{{connection}}", noValue="no calls")
    board.stat("Do answers show tokens?",
               "Header values in the time shown that held the token, and were blanked. A body that does is not found.",
               "increase(cloakroom_call_reflections_total{@}[$__range])", "short", BAD_IF_1, decimals=0)

    board.row("What are clients answered?", "Responses by status, and requests denied.")
    board.graph("Answers by status",
                "Of everything but probes and metrics. 410: the user has to log in again, or to connect an account. "
                "404: no such user, identity or token. 502: see Are tokens renewed. 503: see Is it healthy.",
                ('sum by (status) (rate(cloakroom_responses_total{route=~"/v1/.*",@}[$__rate_interval]))',
                 "{{status}}"),
                unit="reqps", stacked=True)
    board.graph("How many users have to log in again?",
                "Share of lookups that end in login_required. What is usual depends on your users; a jump is a "
                "provider that has revoked tokens.",
                ('sum by (instance) (rate(cloakroom_responses_total{status="410",@}[$__rate_interval]))'
                 " / sum by (instance) (rate(cloakroom_lookups_total{@}[$__rate_interval]))", "{{instance}}"),
                unit="percentunit")
    board.graph("Who is refused?",
                "By reason. forbidden: no rule. rate_limited: beyond its rule's rate. request_header_required and "
                "forwarded_request: not meant for the daemon. invalid_user_token: /v1/me with a token that is no good.",
                ("sum by (reason) (rate(cloakroom_denied_total{@}[$__rate_interval]))", "{{reason}}"),
                unit="reqps", stacked=True)
    board.graph("Are Management tokens obtained?",
                "Attempts in the last hour. A success now and then is how it should be.",
                ("sum by (result) (increase(cloakroom_management_token_refreshes_total{@}[1h]))", "{{result}}"),
                unit="short")

    board.row("Cache", "What is remembered, and why it is forgotten.")
    board.graph("How full is it?",
                "Share of cache.max_bytes. Full is well, as long as little is forgotten for want of room.",
                ("cloakroom_cache_bytes{@} / cloakroom_cache_max_bytes{@}", "{{instance}}"), unit="percentunit", max=1,
                width=8)
    board.graph("Users remembered", "Those without a token count as well, shortly.",
                ("cloakroom_cache_entries{@}", "{{instance}}"), unit="short", width=8)
    board.graph("Why are users forgotten?",
                "By cause. size: no room, so raise cache.max_bytes if this goes on. expired: nothing of them could be "
                "served any more. purged: on request.",
                ("sum by (cause) (rate(cloakroom_cache_evictions_total{@}[$__rate_interval]))", "{{cause}}"),
                unit="ops", stacked=True, width=8)

    board.row("Process", "What it takes of the machine.")
    board.graph("Memory", "Resident. It is a base of some MiB, the cache, and what connections take.",
                ("process_resident_memory_bytes{@}", "{{instance}}, resident"),
                ("cloakroom_cache_bytes{@}", "{{instance}}, cache"), unit="bytes", width=8)
    board.graph("Addresses", "Virtual memory: reserved, not used.",
                ("process_virtual_memory_bytes{@}", "{{instance}}"), unit="bytes", width=8)
    board.graph("Processor", "1 is one core. More than runtime.threads it cannot be for long.",
                ("rate(process_cpu_seconds_total{@}[$__rate_interval])", "{{instance}}"), unit="short", width=8)
    board.graph("File descriptors", "Share of those that it may have. Every connection is one.",
                ("process_open_fds{@} / process_max_fds{@}", "{{instance}}"), unit="percentunit", max=1, width=8)
    board.graph("Connections", "Open ones, all sockets together.",
                ("cloakroom_connections{@}", "{{instance}}"), unit="short", width=8)
    board.graph("Connections turned away",
                "By reason. limit: beyond what a uid, or all together, may have. resources: no descriptor or memory. "
                "unnamed: the kernel does not say who it is.",
                ("sum by (reason) (rate(cloakroom_connections_refused_total{@}[$__rate_interval]))", "{{reason}}"),
                unit="cps", width=8)


def fill_up(board):
    """Adds a plain panel for each metric of the contract that no panel has shown yet."""
    expressions = [target["expr"] for panel in board.panels for target in panel.get("targets", [])]
    shown = set(re.findall(r"\b((?:cloakroom|process)_\w+?)(?:_bucket|_sum|_count)?\b", " ".join(expressions)))
    lines = [line.split() for line in CONTRACT.read_text().splitlines() if not line.startswith("#")]
    others = [line for line in lines if line[0] not in shown]
    if others:
        board.row("What else is measured?", "Metrics that no panel above shows. The reference of metrics explains them.")
    for name, kind, *labels in others:
        expression, unit = plain(name, kind, labels)
        legend = " ".join(f"{{{{{label}}}}}" for label in labels or ["instance"])
        board.graph(name, "As it is. The reference of metrics explains it: docs/reference/metrics.md.",
                    (expression, legend), unit=unit, width=8)


def plain(name, kind, labels):
    """The expression that shows a metric of this type, and its unit."""
    by = ", ".join(labels or ["instance"])
    if kind == "counter":
        return f"sum by ({by}) (rate({name}{{@}}[$__rate_interval]))", "ops"
    if kind == "histogram":
        return quantile(0.99, by, name), "s"
    if name.endswith("_timestamp_seconds"):
        return f"time() - {name}{{@}}", "s"
    units = {"bytes": "bytes", "seconds": "s"}
    return f"sum by ({by}) ({name}{{@}})", units.get(name.rsplit("_", 1)[-1], "short")


def main():
    board = Board()
    fill(board)
    fill_up(board)
    variables = [
        variable("datasource", "Prometheus", type="datasource", query="prometheus", regex="", refresh=1, multi=False,
                 includeAll=False),
        choice("job", "Job", "label_values(cloakroom_build_info, job)"),
        choice("instance", "Daemon", 'label_values(cloakroom_build_info{job=~"$job"}, instance)'),
    ]
    dashboard = {
        "uid": "cloakroom", "title": "cloakroom", "tags": ["cloakroom", "auth0"],
        "description": "Users' identity-provider tokens: is the daemon healthy, is it worth it, who waits, and how "
                       "near is the tenant's limit.",
        "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1, "fiscalYearStartMonth": 0, "id": None,
        "time": {"from": "now-6h", "to": "now"}, "refresh": "30s", "timezone": "browser", "weekStart": "",
        "timepicker": {}, "links": [], "liveNow": False,
        "annotations": {"list": [
            {"name": "Starts", "enable": True, "hide": False, "iconColor": "blue", "datasource": source(),
             "expr": here("changes(process_start_time_seconds{@}[$__rate_interval]) > 0"),
             "titleFormat": "{{instance}} started", "step": "30s"},
        ]},
        "templating": {"list": variables},
        "panels": board.panels,
    }
    json.dump(dashboard, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

//! The reference of metrics and the contract with Prometheus, from the table in `src/api/metrics/table.rs`.

use std::fmt::Write;

use cloakroom::api::metrics::METRICS;

use super::markdown::wrapped;
use super::{generated, generated_below_marker};

#[test]
fn the_reference_has_an_item_for_each_metric() {
    let mut page = String::new();
    for part in ["cloakroom", "process"] {
        let title = if part == "process" { "The process" } else { "The daemon" };
        writeln!(page, "{}## {title}\n", if page.is_empty() { "" } else { "\n" }).unwrap();
        for metric in METRICS.iter().filter(|metric| metric.exposed_name().starts_with(part)) {
            let (name, kind) = (metric.exposed_name(), metric.kind.as_str());
            let note = if metric.note.is_empty() { String::new() } else { format!(" {}", metric.note) };
            page.push_str(&wrapped(&format!("`{name}` ({kind}): {}.{note}", metric.help), "- ", "  "));
            for label in metric.labels {
                page.push_str(&wrapped(&format!("`{}`: {}", label.name, label.values), "  - ", "    "));
            }
        }
    }
    generated_below_marker("docs/reference/metrics.md", &page);
}

#[test]
fn the_contract_with_prometheus_names_each_metric() {
    let mut text = String::from(
        "# Every metric that operators may rely on, its type and its labels. test_live.py compares.\n\
         # Written by CLOAKROOM_WRITE_DOCS=1 cargo test --test tidy references.\n",
    );
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| label.name).collect();
        let line = format!("{:<59} {:<10} {}", metric.exposed_name(), metric.kind.as_str(), labels.join(" "));
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    generated("tests/prometheus/contract.txt", &text);
}

//! What Prometheus reads, gathered when it asks. The metrics are in `table.rs`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::state::Services;

mod call_rows;
mod management_api_rows;
mod samples;
mod source_rows;
mod spec;
mod state_rows;
mod table;

use spec::{Samples, Scrape, Value};

pub use spec::{Kind, Label, MetricSpec};
pub use table::METRICS;

/// Gathers everything once and writes it down as OpenMetrics.
pub(super) fn render(services: &Services) -> String {
    let scrape = Scrape::now(services);
    let samples = METRICS.iter().map(|metric| (metric.read)(&scrape)).collect();
    let (mut text, mut registry) = (String::new(), Registry::default());
    registry.register_collector(Box::new(Gathered(samples)));
    // Writing into a string fails only where our own encoding does, and then there is nothing to show.
    if encode(&mut text, &registry).is_err() {
        text.clear();
    }
    text
}

/// The samples of every metric, in the order of [`METRICS`].
#[derive(Debug)]
struct Gathered(Vec<Samples>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (MetricSpec { name, help, kind, labels, .. }, samples) in METRICS.iter().zip(&self.0) {
            let of_type = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(name, help, None, of_type)?;
            match samples.as_slice() {
                [(values, value)] if values.is_empty() => write(metric, *kind, value)?,
                samples => {
                    for (values, value) in samples {
                        let names = labels.iter().map(|label| label.name);
                        let labelled: Vec<_> = names.zip(values.iter().map(String::as_str)).collect();
                        write(metric.encode_family(&labelled)?, *kind, value)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn write(sample: MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (_, Value::Durations(took)) => took.buckets().encode(sample),
        (Kind::Counter, Value::Number(value)) => ConstCounter::new(*value).encode(sample),
        (_, Value::Number(value)) => ConstGauge::new(*value).encode(sample),
    }
}

//! Writes the results: the tables, as they are printed and as `benches/RESULTS.md` has them, and the pictures beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use plotters::prelude::*;

use crate::CONNECTIONS;
use crate::curves::{Curves, RATE, Remembered, middle};
use crate::many;
use crate::proxied::Proxied;
use crate::subjects::{BODY, Crowd, Ground};

/// What was measured of one subject; a figure for each round.
pub struct Row {
    name: &'static str,
    resident: u64,
    /// Called by services, and saturated.
    cpu: [Vec<f64>; 2],
    per_second: Vec<f64>,
    quantiles: [Vec<f64>; 3],
}

impl Row {
    pub fn new(name: &'static str, resident: u64) -> Self {
        Self {
            name,
            resident,
            cpu: Default::default(),
            per_second: Vec::new(),
            quantiles: Default::default(),
        }
    }

    pub fn asked(&mut self, cpu: [f64; 2], per_second: f64) {
        self.cpu.iter_mut().zip(cpu).for_each(|(all, one)| all.push(one));
        self.per_second.push(per_second);
    }

    pub fn half(&mut self, quantiles: [f64; 3]) {
        self.quantiles.iter_mut().zip(quantiles).for_each(|(all, one)| all.push(one));
    }

    pub fn per_second(&self) -> f64 {
        middle(self.per_second.clone())
    }

    /// The median of the rounds' ratios, and how far they lie apart.
    fn ratio_to(&self, other: &Self, how: usize) -> [f64; 3] {
        let mut ratios: Vec<_> =
            self.cpu[how].iter().zip(&other.cpu[how]).map(|(own, other)| own / other).collect();
        ratios.sort_by(f64::total_cmp);
        [ratios[0], middle(ratios.clone()), ratios[ratios.len() - 1]]
    }
}

/// Asked by callers that take their time.
const CALLED: usize = 0;
/// Asked for as much as it can do.
const SATURATED: usize = 1;

/// A bar that the figures are held to.
struct Bar {
    figure: String,
    value: f64,
    most: f64,
    unit: &'static str,
}

pub fn write(
    rows: &[Row],
    calls: &Proxied,
    curves: &Curves,
    instructions: &[(String, f64)],
    ground: &Ground,
) {
    let text =
        format!("{}{}{}", table(rows), bars(rows, calls, curves), figures(calls, curves, instructions));
    println!("{text}");
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::write(place.join("RESULTS.md"), format!("{}{text}{PICTURES}", head(ground))).unwrap();
    let cpu: Vec<_> = rows.iter().map(|row| (row.name, middle(row.cpu[CALLED].clone()))).collect();
    draw_bars(&place.join("cpu.svg"), &cpu);
    let hits: Vec<_> = curves.users.iter().map(|at| (at.users as f64, at.cpu)).collect();
    draw_curve(&place.join("users.svg"), "CPU per hit against users remembered", "users", &hits);
    let hits: Vec<_> =
        curves.connections.iter().map(|(connections, cpu)| (*connections as f64, *cpu)).collect();
    draw_curve(&place.join("connections.svg"), "CPU per hit against connections", "connections", &hits);
    let kept: Vec<_> =
        curves.payloads.iter().map(|(_, texts, resident)| (*texts as f64, *resident)).collect();
    draw_curve(
        &place.join("memory.svg"),
        "Resident bytes per user against bytes of its texts",
        "bytes",
        &kept,
    );
}

const PICTURES: &str = "\n![CPU per request](cpu.svg)\n\n![CPU per hit against users](users.svg)\n\n\
                        ![CPU per hit against connections](connections.svg)\n\n\
                        ![Resident bytes per user](memory.svg)\n";

fn head(ground: &Ground) -> String {
    let version = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().unwrap();
        let all = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&all).lines().next().unwrap_or_default().to_owned()
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    format!(
        "# Results\n\nWritten by `make bench`; [Benchmarks](../docs/internals/benchmarks.md) says what is measured, and how. \
         Absolute figures are those of\none machine on one day; compare the ratios.\n\n\
         - {}, on {} processors ({}), Linux {}\n- {}; {}; {}\n\n",
        jiff::Zoned::now().date(),
        cpu.lines().filter(|line| line.starts_with("processor")).count(),
        model.trim_start_matches([' ', '\t', ':']),
        version("uname", "-r"),
        version(ground.cloakroom.to_str().unwrap(), "--version"),
        version("nginx", "-v"),
        version("redis-server", "--version").split(" sha").next().unwrap(),
    )
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "Answers of {BODY} bytes over a Unix socket, 32 connections kept open, medians of the rounds. The CPU time per request \
         is measured with h2load\nand redis-benchmark, which pause between requests, and saturated, with a load that never pauses. \
         Latencies are those at half of each\nserver's maximum rate, in microseconds from when a request was due.\n\n\
         | server | CPU µs per request | of bare hyper's (spread) | saturated: CPU µs | of bare hyper's (spread) | \
         requests/s | p50 | p99 | p99.9 | resident MiB |\n|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let figures = [CALLED, SATURATED].map(|how| {
            let [least, ratio, most] = row.ratio_to(&rows[0], how);
            format!("{:.2} | {ratio:.2} ({least:.2} to {most:.2})", middle(row.cpu[how].clone()))
        });
        let quantile = |at: usize| middle(row.quantiles[at].clone());
        writeln!(
            text,
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} |",
            row.name,
            figures.join(" | "),
            row.per_second(),
            quantile(0),
            quantile(1),
            quantile(2),
            row.resident as f64 / 1_048_576.0
        )
        .unwrap();
    }
    text
}

fn bars(rows: &[Row], calls: &Proxied, curves: &Curves) -> String {
    let named = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let own = named("cloakroom");
    let p99 = |row: &Row| middle(row.quantiles[1].clone());
    let users = |at: usize| &curves.users[at];
    let bar =
        |figure: &str, value: f64, most: f64, unit| Bar { figure: figure.to_owned(), value, most, unit };
    let bars = [
        bar("CPU per hit against bare hyper", own.ratio_to(named("bare hyper"), CALLED)[1], 1.20, "x"),
        bar(
            "CPU per hit against nginx `proxy_cache`",
            own.ratio_to(named("nginx proxy_cache"), CALLED)[1],
            0.60,
            "x",
        ),
        bar("CPU per hit against Redis `GET`", own.ratio_to(named("redis GET"), CALLED)[1], 1.25, "x"),
        bar("CPU per proxied GET against a hit and a bare hyper client's", calls.ratio()[1], 2.5, "x"),
        bar("CPU per hit at 1 000 000 users against 1 000", users(2).cpu / users(0).cpu, 1.25, "x"),
        bar("p99 at half of saturation against bare hyper's", p99(own) / p99(named("bare hyper")), 1.5, "x"),
        bar("resident, idle, one user remembered", own.resident as f64 / 1_048_576.0, 9.0, " MiB"),
        bar(
            "resident per user over key and value, at 1 000 000",
            users(2).resident / KEY_AND_VALUE,
            1.6,
            "x",
        ),
        bar("miss beyond the tenant's own latency, mean", curves.miss / 1e3, 1.0, " ms"),
        bar("from exec to listening", curves.start.0, 30.0, " ms"),
        bar("the program", curves.binary as f64 / 1_048_576.0, 14.0, " MiB"),
    ];
    let mut text = "\n| figure | measured | bound | |\n|---|---|---|---|\n".to_owned();
    for Bar { figure, value, most, unit } in bars {
        let verdict = if value <= most { "holds" } else { "**missed**" };
        writeln!(text, "| {figure} | {value:.2}{unit} | {most}{unit} | {verdict} |").unwrap();
    }
    text
}

/// What another cache would keep of a user: the id, and the answer as it is.
const KEY_AND_VALUE: f64 = (many::ID + BODY) as f64;

fn figures(calls: &Proxied, curves: &Curves, instructions: &[(String, f64)]) -> String {
    let mut text = format!("\nFrom exec to ready, a tenant on the same machine: {:.1} ms.\n", curves.start.1);
    text.push_str(&proxied(calls));
    text.push_str("\n| instructions in user space per request, by callgrind | |\n|---|---|\n");
    for ((_, count), name) in instructions.iter().zip(["bare hyper", "cloakroom"]) {
        writeln!(text, "| {name} | {count:.0} |").unwrap();
    }
    writeln!(
        text,
        "\nUsers have ids of {} bytes and tokens of {}: their texts have {} bytes, an answer has {BODY}. The \
         load is\n{RATE:.0} lookups a second.\n",
        many::ID,
        many::TOKEN,
        many::texts(many::TOKEN)
    )
    .unwrap();
    text.push_str(
        "| users | CPU µs per hit | saturated | resident bytes per user | over id and answer | over its texts |\n",
    );
    text.push_str("|---|---|---|---|---|---|\n");
    for Remembered { users, cpu, saturated, resident } in &curves.users {
        let over = [KEY_AND_VALUE, many::texts(many::TOKEN) as f64].map(|bytes| resident / bytes);
        let [over_answer, over_texts] = over;
        writeln!(
            text,
            "| {users} | {cpu:.2} | {saturated:.2} | {resident:.0} | {over_answer:.2} | {over_texts:.2} |"
        )
        .unwrap();
    }
    text.push_str("\n| bytes of a token | of all texts | resident bytes per user | over its texts |\n|---|---|---|---|\n");
    for (token, texts, bytes) in &curves.payloads {
        writeln!(text, "| {token} | {texts} | {bytes:.0} | {:.2} |", bytes / *texts as f64).unwrap();
    }
    text.push_str("\n| connections | CPU µs per hit |\n|---|---|\n");
    for (connections, cpu) in &curves.connections {
        writeln!(text, "| {connections} | {cpu:.2} |").unwrap();
    }
    text.push_str(&crowds(&curves.crowds));
    text
}

/// What a proxied call takes.
pub fn proxied(calls: &Proxied) -> String {
    let [least, ratio, most] = calls.ratio();
    let mut text = format!(
        "\nA GET of a provider's API over TLS whose answer has {BODY} bytes, by the same {CONNECTIONS} connections; through \
         cloakroom it takes {ratio:.2}\ntimes ({least:.2} to {most:.2}) what the other two take together.\n\n\
         | proxied calls | CPU µs |\n|---|---|\n"
    );
    for (name, cpu) in calls.medians() {
        writeln!(text, "| {name} | {cpu:.2} |").unwrap();
    }
    text
}

pub fn crowds(crowds: &[Crowd]) -> String {
    let mut text = String::new();
    text.push_str("\n| cold lookups at the same time | answers | requests to Auth0 | all answered after | resident MiB |\n");
    text.push_str("|---|---|---|---|---|\n");
    for (crowd, whom) in crowds.iter().zip(["of one user", "of as many users"]) {
        let statuses: Vec<_> =
            crowd.statuses.iter().map(|(status, count)| format!("{count} of {status}")).collect();
        writeln!(
            text,
            "| {} {whom} | {} | {} | {:.0} ms | {:.1} |",
            crowd.callers,
            statuses.join(", "),
            crowd.asked,
            crowd.took.as_secs_f64() * 1e3,
            crowd.resident as f64 / 1_048_576.0
        )
        .unwrap();
    }
    text
}

fn draw_bars(path: &Path, bars: &[(&str, f64)]) {
    let most = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max) * 1.1;
    let area = SVGBackend::new(path, (720, 320)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .caption("CPU per request, microseconds", ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(150)
        .build_cartesian_2d(0.0..most, (0..bars.len()).into_segmented())
        .unwrap();
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(at) => bars.get(*at).map_or_else(String::new, |(name, _)| (*name).to_owned()),
        _ => String::new(),
    };
    chart.configure_mesh().disable_y_mesh().y_label_formatter(&name).y_labels(bars.len()).draw().unwrap();
    chart
        .draw_series(bars.iter().enumerate().map(|(at, (name, value))| {
            let colour = if name.starts_with("cloakroom") { BLUE.mix(0.7) } else { BLACK.mix(0.3) };
            let corners = [(0.0, SegmentValue::Exact(at)), (*value, SegmentValue::Exact(at + 1))];
            let mut bar = Rectangle::new(corners, colour.filled());
            bar.set_margin(4, 4, 0, 0);
            bar
        }))
        .unwrap();
    area.present().unwrap();
}

fn draw_curve(path: &Path, caption: &str, axis: &str, points: &[(f64, f64)]) {
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max) * 1.2;
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let area = SVGBackend::new(path, (720, 320)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d((first..last).log_scale(), 0.0..most)
        .unwrap();
    chart.configure_mesh().x_desc(axis).draw().unwrap();
    chart.draw_series(LineSeries::new(points.iter().copied(), BLUE.stroke_width(2))).unwrap();
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, BLUE.filled()))).unwrap();
    area.present().unwrap();
}

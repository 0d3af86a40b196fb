//! Reads the TOML file as a layer: every value with its line.

use super::source_values::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Report, in_file};
use super::schema::{self, Known, List, Table, Type};
use super::source_values::Layer;
use super::suggestion;

/// Reads `text`, the content of the file `name`. Syntax errors, unknown keys and wrong types are problems in
/// `report`; the layer has the rest. The result is `None` if the text is not TOML: the rest of a broken file would
/// only cause misleading problems.
pub(super) fn read(name: &str, text: &str, report: &mut Report) -> Option<Layer> {
    let mut reader = FileReader { name, lines: Lines::of(text), report, layer: Layer::default() };
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        reader.table("", document.get_ref());
        Some(reader.layer)
    } else {
        reader.errors(&errors);
        None
    }
}

struct FileReader<'a> {
    name: &'a str,
    lines: Lines,
    report: &'a mut Report,
    layer: Layer,
}

impl FileReader<'_> {
    /// Reports one problem per line: further errors of the parser about a line mostly follow from the first.
    fn errors(&mut self, errors: &[toml::de::Error]) {
        let mut reported = 0;
        for error in errors {
            let (line, column) = self.lines.position(error.span().map_or(0, |span| span.start));
            if line > reported {
                reported = line;
                // The message is from a fixed set. The error's own text quotes the line, which may contain a secret.
                let text = format!("not valid TOML at column {column}: {}", error.message());
                self.report.problem("", Some(&in_file(self.name, line)), text);
            }
        }
    }

    fn table(&mut self, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let origin = in_file(self.name, self.lines.position(key.span().start).0);
            self.entry(&schema::join(path, key.get_ref()), &origin, value.get_ref());
        }
    }

    fn entry(&mut self, path: &str, origin: &str, value: &DeValue<'_>) {
        match (schema::lookup(path), value) {
            (None, _) => {
                self.report.problem(path, Some(origin), suggestion::unknown(path, str::to_owned));
            }
            (Some(Known::Table), DeValue::Table(table)) => {
                self.layer.set_empty_table(path);
                self.table(path, table);
            }
            (Some(Known::Table), _) => {
                let text = format!("must be a table, written as [{path}], not {}", name_of(value));
                self.unusable(path, origin, text);
            }
            (Some(Known::ListOfTables(table, list)), DeValue::Array(elements)) => {
                self.elements(path, origin, table, list, elements);
            }
            (Some(Known::ListOfTables(table, _)), _) => {
                let text = format!(
                    "must be a list of tables, each written as {} with two brackets",
                    table.heading()
                );
                self.unusable(path, origin, text);
            }
            (Some(Known::Key(key)), value) => self.value(path, origin, key.takes, value),
        }
    }

    fn elements(&mut self, path: &str, origin: &str, table: &Table, list: List, elements: &DeArray<'_>) {
        if elements.len() > list.most {
            let text = format!("at most {} {} are possible", list.most, list.elements);
            self.report.problem(path, Some(origin), text);
        }
        for (index, element) in elements.iter().enumerate().take(list.most) {
            self.element(&schema::join(path, &index.to_string()), table, element);
        }
    }

    fn element(&mut self, path: &str, of: &Table, element: &Spanned<DeValue<'_>>) {
        match element.get_ref() {
            DeValue::Table(table) => {
                self.layer.set_empty_table(path);
                self.table(path, table);
            }
            other => {
                let origin = in_file(self.name, self.lines.position(element.span().start).0);
                let text = format!("must be a table, written as {}, not {}", of.heading(), name_of(other));
                self.unusable(path, &origin, text);
            }
        }
    }

    fn unusable(&mut self, path: &str, origin: &str, text: impl Into<String>) {
        self.report.problem(path, Some(origin), text);
        self.layer.set_unusable(path);
    }

    fn value(&mut self, path: &str, origin: &str, takes: Type, value: &DeValue<'_>) {
        match (scalar(value), value) {
            (Some(value), _) => self.layer.set(path, origin, value),
            (None, DeValue::Array(list)) if matches!(takes, Type::Texts { .. } | Type::Words(_)) => {
                match texts(list) {
                    Some(texts) => self.layer.set(path, origin, Value::Texts(texts)),
                    None => self.unusable(path, origin, format!("must be {}", takes.expected())),
                }
            }
            (None, DeValue::Integer(_)) => self.unusable(path, origin, "number too large"),
            (None, _) => {
                let text = format!("must be {}, not {}", takes.expected(), name_of(value));
                self.unusable(path, origin, text);
            }
        }
    }
}

/// The texts of a list; `None` if an element is not a text.
fn texts(list: &DeArray<'_>) -> Option<Vec<String>> {
    let text = |element: &Spanned<DeValue<'_>>| match element.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    list.iter().map(text).collect()
}

/// The value, if it is a single one; `None` for tables, lists, dates, and numbers beyond 64 bits.
fn scalar(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().ok().map(Value::Number),
        DeValue::Boolean(value) => Some(Value::Boolean(*value)),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn name_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text in quotes",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The offsets at which lines begin, so that finding a line does not scan the text each time.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { starts: std::iter::once(0).chain(ends.map(|(at, _)| at.saturating_add(1))).collect() }
    }

    /// The line of an offset and the column in bytes; both count from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or(0);
        (line, offset.saturating_sub(start).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let mut report = Report::default();
        read("f", text, &mut report);
        let outcome = report.problem("end", None, "");
        report.finish::<()>("f", Err(outcome)).unwrap_err().to_string()
    }

    #[test]
    fn positions_count_from_one() {
        let lines = Lines::of("a\n\nbc");
        assert_eq!(
            [0, 1, 2, 3, 4, 9].map(|at| lines.position(at)),
            [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2), (3, 7)]
        );
    }

    #[test]
    fn a_broken_file_is_not_quoted() {
        let text = problems("[tenant.client]\nsecret = \"canary\nid = \"x\"\n");
        assert!(text.starts_with("f, line 2: not valid TOML at column "), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn byte_order_marks_and_crlf_are_accepted() {
        assert_eq!(
            problems("\u{feff}[cache]\r\nmax_ttl = \"1m\"\r\n[log]\r\nx = 1\r\n"),
            "f, line 4: log.x: unknown key\nend: "
        );
    }

    #[test]
    fn dotted_keys_and_inline_tables_have_lines_too() {
        let text = problems("tenant.client = { id = \"x\",\n  idd = 1 }\n\nlistener = [{ mod = 1 }, 5]");
        let expected = "f, line 2: tenant.client.idd: unknown key; did you mean tenant.client.id?\n\
            f, line 4: listener.0.mod: unknown key; did you mean listener.0.mode?\n\
            f, line 4: listener.1: must be a table, written as [[listener]], not a number\nend: ";
        assert_eq!(text, expected);
    }
}

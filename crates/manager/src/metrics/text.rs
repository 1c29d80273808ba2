//! The text exposition format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

/// Writes families of metrics: a help line, a type line, and its samples.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
    /// The heading of a family that has no sample yet.
    heading: String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family; without samples it leaves nothing.
    pub(super) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.heading.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.heading, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A sample of the family; nothing without a value.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: Option<f64>) {
        let Some(value) = value else { return };
        self.text.push_str(&std::mem::take(&mut self.heading));
        self.text.push_str(self.name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escape(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        // `f64` is shown in full and without an exponent, as the format allows; integers below 2^53 are exact.
        let _ = writeln!(self.text, " {value}");
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// A label's value between its quotes.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_without_samples_leave_nothing_and_labels_are_escaped() {
        let mut out = Exposition::default();
        out.family("a", "gauge", "First.");
        out.sample(&[], None);
        out.family("b_total", "counter", "Second.");
        out.sample(&[("x", "a\"b\\c\nd"), ("y", "")], Some(1.5));
        out.sample(&[], Some(9_007_199_254_740_991.0));
        assert_eq!(
            out.finish(),
            "# HELP b_total Second.\n# TYPE b_total counter\nb_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 1.5\n\
             b_total 9007199254740991\n"
        );
    }
}

//! `report`: lines for people, an object for programs.

mod json;
pub(super) mod verdict;
pub(super) mod words;

use tapster_manager::ServerReport;
use time::OffsetDateTime;

use super::{Colour, Output};
use verdict::State;

/// Prints the verdicts.
pub(crate) fn show(output: &Output, reports: &[ServerReport], now: OffsetDateTime) {
    for report in reports {
        let verdict = verdict::of(report, now);
        if output.is_json() {
            output.json_insert(report.name.clone(), json::server(report, &verdict));
            continue;
        }
        let word = verdict.state.label();
        let word = match verdict.state {
            State::Good => output.paint(Colour::Green, word),
            State::Attention => output.paint(Colour::Yellow, word),
            State::Bad => output.paint(Colour::Red, word),
            State::Idle => word.to_owned(),
        };
        output.line(format!("Server {}: {word}", report.name));
        output.line(format!("\t{}", verdict.sentence));
        for concern in &verdict.concerns {
            let mark = if concern.severe { '!' } else { '-' };
            output.line(format!("\t{mark} {}", concern.text));
        }
    }
}

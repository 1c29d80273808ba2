//! The live progress bar of `backup` and `restore`: bytes, rate and time left, on stderr, only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const KNOWN: &str = "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta}";
const UNKNOWN: &str = "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed}";

/// A bar on stderr, drawn at most ten times a second however often it is told.
pub(super) fn start(label: &str, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style(total));
    bar.set_message(label.to_owned());
    bar
}

/// Moves `bar`; a total that was unknown or too small is corrected on the way.
pub(super) fn update(bar: &ProgressBar, done: u64, total: Option<u64>) {
    // A base backup's total is the server's estimate, which a growing database exceeds.
    let total = total.map(|total| total.max(done));
    if total != bar.length() {
        match total {
            Some(length) => {
                if bar.length().is_none() {
                    bar.set_style(style(total));
                }
                bar.set_length(length);
            }
            None => {
                bar.unset_length();
                bar.set_style(style(None));
            }
        }
    }
    bar.set_position(done);
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = if total.is_some() { KNOWN } else { UNKNOWN };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_parse_and_the_total_grows_with_the_data() {
        assert!(ProgressStyle::with_template(KNOWN).is_ok() && ProgressStyle::with_template(UNKNOWN).is_ok());
        let bar = ProgressBar::hidden();
        update(&bar, 5, None);
        assert_eq!((bar.position(), bar.length()), (5, None));
        update(&bar, 10, Some(8));
        assert_eq!((bar.position(), bar.length()), (10, Some(10)));
    }
}

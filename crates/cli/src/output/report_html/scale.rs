//! From time to place.

use std::fmt;

use time::{Duration, OffsetDateTime, UtcOffset};

/// Percent that stay free on both sides, so that what stands at the edge is seen.
const MARGIN: f64 = 1.5;

/// A place along a picture, in percent of its width: so text keeps its size when the picture is narrow.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Percent(pub(super) f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}%", self.0)
    }
}

/// Where moments stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeScale {
    from: OffsetDateTime,
    to: OffsetDateTime,
}

/// A moment with its label.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Tick {
    pub(super) time: OffsetDateTime,
    pub(super) label: String,
}

/// Seconds between labels: minutes, hours, days, and about months and years.
const STEPS: [i64; 21] = [
    60,
    300,
    900,
    1_800,
    3_600,
    10_800,
    21_600,
    43_200,
    86_400,
    172_800,
    604_800,
    1_209_600,
    2_592_000,
    7_776_000,
    15_552_000,
    31_536_000,
    63_072_000,
    157_680_000,
    315_360_000,
    3_153_600_000,
    31_536_000_000,
];
/// At most so many labels.
const TICKS: i64 = 9;

impl TimeScale {
    /// From the one to the other, a minute at least; from the end backwards when they are the wrong way round.
    pub(super) fn new(from: OffsetDateTime, to: OffsetDateTime) -> Self {
        // The end stays where it is: it is now.
        Self { from: from.min(to.saturating_sub(Duration::MINUTE)), to }
    }

    /// The place of a moment; of one outside, the edge.
    pub(super) fn at(&self, time: OffsetDateTime) -> Percent {
        let part = (time - self.from).as_seconds_f64() / (self.to - self.from).as_seconds_f64();
        Percent(MARGIN + part.clamp(0.0, 1.0) * (100.0 - 2.0 * MARGIN))
    }

    /// Where a stretch begins, and how wide it is: wide enough to be seen.
    pub(super) fn stretch(&self, from: OffsetDateTime, to: OffsetDateTime) -> (Percent, Percent) {
        const LEAST: f64 = 0.4;
        let (begin, end) = (self.at(from).0, self.at(to).0);
        if end - begin >= LEAST {
            return (Percent(begin), Percent(end - begin));
        }
        (Percent(((begin + end) / 2.0 - LEAST / 2.0).clamp(0.0, 100.0 - LEAST)), Percent(LEAST))
    }

    /// Whether a moment is between the edges.
    pub(super) fn holds(&self, time: OffsetDateTime) -> bool {
        self.from <= time && time <= self.to
    }

    /// Whether anything of a stretch is between the edges.
    pub(super) fn touches(&self, from: OffsetDateTime, to: OffsetDateTime) -> bool {
        from <= self.to && to >= self.from
    }

    /// Round moments for labels, in UTC.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let (from, to) = (self.from.unix_timestamp(), self.to.unix_timestamp());
        let span = to.saturating_sub(from).max(1);
        let step = STEPS.iter().copied().find(|step| span / step < TICKS).unwrap_or(span);
        let mut ticks = Vec::new();
        let mut at = from.div_euclid(step).saturating_add(1).saturating_mul(step);
        let mut day = None;
        while at <= to && ticks.len() < 16 {
            if let Ok(time) = OffsetDateTime::from_unix_timestamp(at) {
                let time = time.to_offset(UtcOffset::UTC);
                let is_new_day = day.replace(time.date()) != Some(time.date());
                ticks.push(Tick { time, label: label(time, step, is_new_day) });
            }
            at = at.saturating_add(step);
        }
        ticks
    }
}

fn label(time: OffsetDateTime, step: i64, is_new_day: bool) -> String {
    let month: String = time.month().to_string().chars().take(3).collect();
    match step {
        ..86_400 if is_new_day && time.time() == time::Time::MIDNIGHT => format!("{} {month}", time.day()),
        ..86_400 => format!("{:02}:{:02}", time.hour(), time.minute()),
        86_400..7_776_000 => format!("{} {month}", time.day()),
        7_776_000..157_680_000 => format!("{month} {}", time.year()),
        _ => time.year().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    #[test]
    fn places_are_in_order_and_inside() {
        let scale = TimeScale::new(time(1_000), time(11_000));
        let places = [-50_000, 1_000, 6_000, 11_000, 900_000].map(|t| scale.at(time(t)).to_string());
        assert_eq!(places, ["1.50%", "1.50%", "50.00%", "98.50%", "98.50%"]);
        let (at, width) = scale.stretch(time(6_000), time(6_001));
        assert_eq!((at.to_string(), width.to_string()), ("49.80%".into(), "0.40%".into()));
        let (at, width) = scale.stretch(time(1_000), time(11_000));
        assert_eq!((at.to_string(), width.to_string()), ("1.50%".into(), "97.00%".into()));
    }

    #[test]
    fn labels_are_round_and_few() {
        let labels = |from, to| -> Vec<String> {
            TimeScale::new(time(from), time(to)).ticks().into_iter().map(|tick| tick.label).collect()
        };
        let day = 86_400;
        // 2026-11-21 00:00 UTC
        let base = 1_795_219_200;
        assert_eq!(
            labels(base - 7_200, base + 7_200),
            ["22:30", "23:00", "23:30", "21 Nov", "00:30", "01:00", "01:30", "02:00"]
        );
        assert_eq!(
            labels(base - 3 * day, base),
            ["18 Nov", "12:00", "19 Nov", "12:00", "20 Nov", "12:00", "21 Nov"][1..]
        );
        assert_eq!(labels(base - 5 * day + 1, base), ["17 Nov", "18 Nov", "19 Nov", "20 Nov", "21 Nov"]);
        for span in [0, 1, 59, 3_600, day, 40 * day, 900 * day, 30_000 * day] {
            let count = labels(base - span, base).len();
            assert!(count <= 10, "{span}: {count}");
        }
    }

    #[test]
    fn the_ends_of_time_are_places_too() {
        let first = time::Date::MIN.midnight().assume_utc();
        let last = time::Date::MAX.midnight().assume_utc();
        for (from, to) in [(first, last), (last, first), (first, first), (last, last)] {
            let scale = TimeScale::new(from, to);
            assert!(scale.ticks().len() <= 16);
            assert!((0.0..=100.0).contains(&scale.at(time(0)).0));
        }
    }
}

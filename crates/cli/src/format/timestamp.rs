//! Points in time: `ctime`, Python's `str(datetime)`, log lines.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const CTIME: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
);
const SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const MICROSECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]");
const LOG: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second],[subsecond digits:3]");

fn written(time: OffsetDateTime, format: &[BorrowedFormatItem<'_>]) -> String {
    // Formatting fails only for components a full date-time does not have.
    time.format(format).unwrap_or_default()
}

/// `Sat Nov 21 00:05:45 2026`, in the offset `time` carries.
pub(crate) fn ctime(time: OffsetDateTime) -> String {
    written(time, CTIME)
}

/// `2026-11-21 00:07:20.915309+00:00`, the form of `backup.info` and of `show-backup`; no fraction when it is zero.
pub(crate) fn python_datetime(time: OffsetDateTime) -> String {
    let mut text = python_naive_datetime(time);
    let (hours, minutes, seconds) = time.offset().as_hms();
    let sign = if time.offset().is_negative() { '-' } else { '+' };
    text.push_str(&format!("{sign}{:02}:{:02}", hours.unsigned_abs(), minutes.unsigned_abs()));
    if seconds != 0 {
        text.push_str(&format!(":{:02}", seconds.unsigned_abs()));
    }
    text
}

/// `2026-11-21T00:07:20.915309+00:00`: the same in the form of ISO 8601 (Python's `isoformat`).
pub(crate) fn iso_datetime(time: OffsetDateTime) -> String {
    python_datetime(time).replacen(' ', "T", 1)
}

/// `2026-11-21 00:05:42.177947`: the same without the offset.
pub(crate) fn python_naive_datetime(time: OffsetDateTime) -> String {
    written(time, if time.microsecond() == 0 { SECONDS } else { MICROSECONDS })
}

/// `2026-11-21 00:13:30,534`, the time of a log line.
pub(crate) fn log_time(time: OffsetDateTime) -> String {
    written(time, LOG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn forms_are_pythons() {
        let time = datetime!(2026-11-01 00:07:20.915309 UTC);
        assert_eq!(ctime(time), "Sun Nov  1 00:07:20 2026");
        assert_eq!(python_datetime(time), "2026-11-01 00:07:20.915309+00:00");
        assert_eq!(python_naive_datetime(time), "2026-11-01 00:07:20.915309");
        assert_eq!(log_time(time), "2026-11-01 00:07:20,915");
        assert_eq!(python_datetime(datetime!(2026-01-02 03:04:05 -3:30)), "2026-01-02 03:04:05-03:30");
        // Nanoseconds below a microsecond do not exist for Python.
        assert_eq!(
            python_datetime(datetime!(2026-01-02 03:04:05.000000999 UTC)),
            "2026-01-02 03:04:05+00:00"
        );
    }
}

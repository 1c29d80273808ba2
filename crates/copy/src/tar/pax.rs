//! Extended headers: POSIX `path`, `linkpath` and `size`, for the one member that follows.

/// What the extended headers before a member said about it.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Seconds since 1970, and nanoseconds.
    pub(super) mtime: Option<(u64, u32)>,
}

impl Extended {
    pub(super) fn is_empty(&self) -> bool {
        self.path.is_none() && self.link.is_none() && self.size.is_none()
    }

    /// Reads the records `LENGTH KEY=VALUE\n`. `None` when one is malformed, given twice, or changes how
    /// the data is laid out (sparse files); keys that concern ownership and other times are passed over.
    pub(super) fn add_records(&mut self, mut records: &[u8]) -> Option<()> {
        while !records.is_empty() {
            let blank = records.iter().take(21).position(|byte| *byte == b' ')?;
            let (digits, _) = records.split_at_checked(blank)?;
            let length = usize::try_from(decimal(digits)?).ok()?;
            let (record, rest) = records.split_at_checked(length)?;
            records = rest;
            let record = record.get(blank.checked_add(1)?..)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = record.split_at_checked(equals)?;
            let value = value.strip_prefix(b"=")?;
            match key {
                b"path" => set(&mut self.path, value.to_vec())?,
                b"linkpath" => set(&mut self.link, value.to_vec())?,
                b"size" => set(&mut self.size, decimal(value)?)?,
                b"mtime" => self.mtime = time(value).or(self.mtime),
                key if key.starts_with(b"GNU.sparse.") => return None,
                _ => {}
            }
        }
        Some(())
    }
}

/// A second value for one thing is not taken: two readers could disagree about which one counts.
pub(super) fn set<T>(target: &mut Option<T>, value: T) -> Option<()> {
    let first = target.is_none();
    *target = Some(value);
    first.then_some(())
}

/// Seconds with a fraction, to the nanosecond; `None` for a time that the header's own field tells well enough.
fn time(text: &[u8]) -> Option<(u64, u32)> {
    let dot = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let (seconds, fraction) = text.split_at_checked(dot)?;
    let fraction = fraction.strip_prefix(b".").unwrap_or_default();
    let digits = fraction.get(..fraction.len().min(9))?;
    let scale = 10_u32.pow(u32::try_from(9 - digits.len()).ok()?);
    let nanoseconds = if digits.is_empty() { 0 } else { u32::try_from(decimal(digits)?).ok()? * scale };
    Some((decimal(seconds)?, nanoseconds))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let mut extended = Extended::default();
        extended.add_records(b"12 path=a\nb\n15 size=123456\n11 mtime=1\n13 atime=1.5\n").unwrap();
        assert_eq!(extended.path.unwrap(), b"a\nb");
        assert_eq!(extended.size, Some(123_456));
        assert_eq!(extended.mtime, Some((1, 0)));
        for (text, expected) in [
            ("1795219542.4817226", Some((1_795_219_542, 481_722_600))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("-1.5", None),
            ("1e5", None),
            ("", None),
        ] {
            assert_eq!(time(text.as_bytes()), expected, "{text}");
        }
        for bad in [
            "12 path=ab\n",
            "0 \n",
            "99999999999999999999 path=a\n",
            "9 path=a\n9 path=b\n",
            "-1 path=a\n",
            "9 path=aX",
            "7 patha\n",
            "22 GNU.sparse.major=1\n",
            "9 size=+1\n",
            "9 size=x\n",
        ] {
            assert!(Extended::default().add_records(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}

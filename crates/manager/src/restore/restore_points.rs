//! Which restore points there are, for who has mistyped one.

use tapster_catalog::wal_index::{Point, WalIndex};
use time::OffsetDateTime;

use super::RestorePointAt;
use crate::{Context, Server};

/// A reader has no use for more.
const MOST: usize = 5;

impl Server {
    /// The restore points of the archive whose names are the most similar to `name`, of those that are equally similar the
    /// latest first. What cannot be read is passed over: this is for a message.
    pub(super) fn similar_restore_points(&self, name: &str, context: &Context<'_>) -> Vec<RestorePointAt> {
        let stop = std::sync::Arc::clone(&context.stop);
        let index = WalIndex::new(self.catalog.disk(), self.layout(), context.now(), &stop)
            .with_custom_filter(self.custom.as_ref())
            .with_gpg(Some(&self.gpg));
        let mut best: Vec<((usize, std::cmp::Reverse<i64>), RestorePointAt)> = Vec::new();
        for dir in index.directories().unwrap_or_default() {
            let Ok(found) = index.load(dir) else { continue };
            for summary in &found.segments {
                for point in &summary.content.points {
                    let Point::Restore { lsn, time, name: found } = point else { continue };
                    let found = String::from_utf8_lossy(found).into_owned();
                    let rank = (distance(name, &found), std::cmp::Reverse(time.micros()));
                    if best.len() == MOST && best.last().is_some_and(|(worst, _)| rank >= *worst) {
                        continue;
                    }
                    // The first segment of a timeline begins with a copy of its parent's.
                    if best.iter().any(|(_, known)| known.lsn == *lsn && known.name == found) {
                        continue;
                    }
                    let nanos = i128::from(time.unix_micros()) * 1000;
                    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
                    let timeline = summary.name.timeline();
                    best.push((rank, RestorePointAt { name: found, lsn: *lsn, timeline, time }));
                    best.sort_by_key(|(rank, _)| *rank);
                    best.truncate(MOST);
                }
            }
        }
        best.into_iter().map(|(_, point)| point).collect()
    }
}

/// How many letters one must insert, remove or replace, whatever their case. Names have up to 63 bytes.
fn distance(a: &str, b: &str) -> usize {
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).take(64).collect::<Vec<char>>();
    let (a, b) = (lower(a), lower(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, one) in a.iter().enumerate() {
        let mut next = vec![at + 1];
        for ((other, above), diagonal) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            next.push((above + 1).min(left + 1).min(diagonal + usize::from(one != other)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn names_are_as_far_apart_as_letters_must_be_changed() {
        for (a, b, expected) in [
            ("", "", 0),
            ("rp_one", "RP_One", 0),
            ("rp_one", "rp_on", 1),
            ("rp_one", "rp_two", 3),
            ("", "abc", 3),
            ("before_upgrade", "before upgrade", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}

//! How much of the log is what (`xlogstats.c`).

use walfile::record::PartsError;
use walfile::rmgr::{Rmgr, type_name};
use walfile::{Lsn, Record};

/// Counts of some records.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct StatisticsRow {
    /// Records.
    pub count: u64,
    /// Their bytes without page images.
    pub record_bytes: u64,
    /// Bytes of their page images.
    pub image_bytes: u64,
}

impl StatisticsRow {
    /// All their bytes.
    pub const fn bytes(&self) -> u64 {
        self.record_bytes + self.image_bytes
    }

    const fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.record_bytes += other.record_bytes;
        self.image_bytes += other.image_bytes;
    }
}

/// Types a resource manager can have: the upper four bits of a record's `info`.
const TYPES: usize = 16;

/// Counts by resource manager and type.
#[derive(Clone, Debug)]
pub struct WalStatistics {
    rows: Box<[[StatisticsRow; TYPES]]>,
    start: Option<Lsn>,
    end: Option<Lsn>,
    major: u16,
}

impl Default for WalStatistics {
    fn default() -> Self {
        Self { rows: vec![[StatisticsRow::default(); TYPES]; 256].into(), start: None, end: None, major: 0 }
    }
}

impl WalStatistics {
    /// Counts a record.
    ///
    /// # Errors
    /// When its inside is not what a server writes.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), PartsError> {
        let header = &record.header;
        let image_bytes = match record.image_bytes() {
            Some(bytes) => bytes,
            None => record.parts()?.image_bytes,
        };
        // The highest bit of a transaction's type says that more fields follow, not what it is.
        let mask = if header.rmgr == Rmgr::TRANSACTION { 0x07 } else { 0x0F };
        let rows = self.rows.get_mut(usize::from(header.rmgr.id()));
        if let Some(row) = rows.and_then(|rows| rows.get_mut(usize::from(header.info >> 4 & mask))) {
            row.count += 1;
            row.record_bytes += u64::from(header.total_len.saturating_sub(image_bytes));
            row.image_bytes += u64::from(image_bytes);
        }
        if self.end.is_none() {
            self.begin(record.lsn);
            self.major = record.major();
        }
        self.end = Some(record.end);
        Ok(())
    }

    /// The log begins here, though its first record may not be counted.
    pub fn begin(&mut self, start: Lsn) {
        self.start.get_or_insert(start);
    }

    /// Where the log begins, and where the last record ends that was counted; `None` when none was.
    pub fn range(&self) -> Option<(Lsn, Lsn)> {
        self.start.zip(self.end)
    }

    /// Everything together.
    pub fn total(&self) -> StatisticsRow {
        let mut total = StatisticsRow::default();
        self.rows.iter().flatten().for_each(|row| total.add(row));
        total
    }

    /// By resource manager: all that PostgreSQL has, and those of extensions that occur.
    pub fn by_rmgr(&self) -> impl Iterator<Item = (Rmgr, StatisticsRow)> {
        (0..=u8::MAX).zip(&self.rows).filter_map(|(id, rows)| {
            let mut sum = StatisticsRow::default();
            rows.iter().for_each(|row| sum.add(row));
            let rmgr = Rmgr::new(id);
            (rmgr.name().is_some() || sum.count > 0).then_some((rmgr, sum))
        })
    }

    /// By resource manager and type, as far as they occur. `None` for a type without a name, whose code is there too.
    pub fn by_type(&self) -> impl Iterator<Item = (Rmgr, u8, Option<&'static str>, StatisticsRow)> {
        (0..=u8::MAX).zip(&self.rows).flat_map(move |(id, rows)| {
            let rmgr = Rmgr::new(id);
            (0..).zip(rows).filter(|(_, row)| row.count > 0).map(move |(kind, row): (u8, _)| {
                let code = kind << 4;
                (rmgr, code, type_name(rmgr, code, self.major), *row)
            })
        })
    }
}

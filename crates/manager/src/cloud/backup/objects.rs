//! The archives of a backup as objects.

use std::io::{self, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tapster_catalog::CopyStats;
use tapster_catalog::record::PyValue;
use tapster_cloud::{Store, Upload, WriteOptions};
use tapster_copy::archive::{Part, PartStore, PartWriter};
use tapster_copy::live::Limiter;
use walfile::codec::Compression;

use super::{CloudBackupError, CloudBackupOptions, ENDINGS};

/// S3 takes no more parts of an upload.
const MOST_PARTS: u64 = 10_000;
/// What an archive may hold beyond its maximum: the file under way is never divided.
const BEYOND: u64 = 2 << 30;

/// Names and makes the objects of one backup.
pub(crate) struct Objects {
    store: Store,
    directory: String,
    ending: &'static str,
    write: WriteOptions,
    limiter: Option<Arc<Limiter>>,
    stop: Arc<AtomicBool>,
    times: Times,
}

/// What the names of archives of that compression end with, behind `.tar`.
pub(super) fn ending(compression: Compression) -> Result<&'static str, CloudBackupError> {
    let known = ENDINGS.iter().find(|(_, known)| *known == compression);
    known.map(|(ending, _)| *ending).ok_or(CloudBackupError::Compression(compression))
}

/// How long the archives took, from the first to the last byte, by name and in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Arc<Mutex<Vec<(String, Instant, Duration)>>>);

impl Objects {
    /// `total` is how large the cluster is, as far as anybody knows.
    pub(crate) fn new(
        store: &Store,
        directory: String,
        ending: &'static str,
        options: &CloudBackupOptions,
        total: Option<u64>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let mut write = WriteOptions::default();
        write.tags.clone_from(&options.tags);
        let largest = options.max_archive_size.saturating_add(BEYOND);
        // It grows while it is copied.
        let expected = total.map_or(largest, |total| total.saturating_add(total / 4).min(largest));
        let chosen = options.min_chunk_size.unwrap_or(0).saturating_mul(MOST_PARTS);
        write.expected_size = Some(expected.max(chosen));
        Self {
            store: store.clone(),
            directory,
            ending,
            write,
            limiter: options.max_bandwidth.map(|bytes| Arc::new(Limiter::new(bytes))),
            stop,
            times: Times::default(),
        }
    }

    pub(crate) fn times(&self) -> Times {
        self.times.clone()
    }
}

impl PartStore for Objects {
    fn begin(&mut self, part: Part) -> io::Result<Box<dyn PartWriter>> {
        let stem = part.tablespace.map_or_else(|| "data".to_owned(), |oid| oid.to_string());
        let number = if part.number == 0 { String::new() } else { format!("_{:04}", part.number) };
        let key = format!("{}/{stem}{number}.tar{}", self.directory, self.ending);
        tracing::info!("Uploading '{key}'");
        let upload = self.store.upload(&key, self.write.clone()).map_err(io::Error::other)?;
        self.times.begin(&stem);
        let (limiter, stop) = (self.limiter.clone(), Arc::clone(&self.stop));
        Ok(Box::new(Object { upload, key, stem, limiter, stop, times: self.times.clone() }))
    }
}

struct Object {
    upload: Upload,
    key: String,
    stem: String,
    limiter: Option<Arc<Limiter>>,
    stop: Arc<AtomicBool>,
    times: Times,
}

impl Write for Object {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.upload.write(bytes)?;
        if let Some(limiter) = &self.limiter {
            limiter.take(count as u64, &self.stop);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PartWriter for Object {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let size = self.upload.finish().map_err(io::Error::other)?;
        tracing::info!("Uploaded '{}', {size} bytes", self.key);
        self.times.end(&self.stem);
        Ok(())
    }
}

impl Times {
    fn begin(&self, stem: &str) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !times.iter().any(|(name, ..)| name == stem) {
            times.push((stem.to_owned(), Instant::now(), Duration::ZERO));
        }
    }

    /// The archive of that name has come to its end, or as far as it is timed.
    pub(crate) fn end(&self, stem: &str) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, begun, took) in times.iter_mut().filter(|(name, ..)| name == stem) {
            *took = begun.elapsed();
        }
    }

    /// As Barman's record has them. Nothing is analysed, and parts are not timed one by one.
    pub(crate) fn stats(&self, begun: Instant, workers: usize) -> CopyStats {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rounded = |took: Duration| PyValue::Float((took.as_secs_f64() * 1e6).round() / 1e6);
        let name = |name: &String| PyValue::Str(name.clone());
        let each: Vec<_> = times.iter().map(|(stem, _, took)| (name(stem), rounded(*took))).collect();
        let none = times.iter().map(|(stem, ..)| (name(stem), PyValue::Int(0))).collect();
        let first = times.iter().map(|(_, begun, _)| *begun).min();
        let last = times.iter().map(|(_, begun, took)| *begun + *took).max();
        let whole = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
        let sum = times.iter().map(|(.., took)| *took).sum();
        let mut stats = CopyStats::default();
        stats.set("total_time", rounded(begun.elapsed()));
        stats.set("number_of_workers", PyValue::Int(i64::try_from(workers).unwrap_or(i64::MAX)));
        stats.set("analysis_time", PyValue::Int(0));
        stats.set("analysis_time_per_item", PyValue::Dict(none));
        stats.set("copy_time_per_item", PyValue::Dict(each.clone()));
        stats.set("serialized_copy_time_per_item", PyValue::Dict(each));
        stats.set("copy_time", rounded(whole));
        stats.set("serialized_copy_time", rounded(sum));
        stats
    }
}

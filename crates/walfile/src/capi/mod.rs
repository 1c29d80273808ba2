//! The C interface (feature `capi`), described in `include/walfile.h`: open, feed, next record, end, close; and verify.
//!
//! `cargo rustc -p walfile --release --features capi --crate-type cdylib` makes the library, `examples/records.c` uses it.
//! Panics do not cross the boundary; a null pointer is an error code. That other pointers point to what the header says
//! is the caller's part, as everywhere in C.
#![allow(unsafe_code, reason = "pointers from C are followed here and nowhere else")]

mod message;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

use crate::{Lsn, RecordDecoder, Segment, Summary};

pub use message::walfile_message;

/// No error.
pub const WALFILE_OK: i32 = 0;
/// No record for now.
pub const WALFILE_NONE: i32 = 1;
/// A null pointer where none may be.
pub const WALFILE_ARGUMENT: i32 = -1;
/// Not the beginning of a segment.
pub const WALFILE_NOT_WAL: i32 = -2;
/// The segment is not valid up to its end.
pub const WALFILE_DAMAGED: i32 = -3;
/// A panic was caught.
pub const WALFILE_BUG: i32 = -4;

/// What reads a log.
#[derive(Debug)]
pub struct Reader(RecordDecoder);

/// `walfile_record` of the header.
#[derive(Debug)]
#[repr(C)]
pub struct CRecord {
    lsn: u64,
    end: u64,
    prev: u64,
    replaces: u64,
    bytes: *const u8,
    total_len: u32,
    xid: u32,
    timeline: u32,
    crc: u32,
    major: u16,
    rmgr: u8,
    info: u8,
    rmgr_name: [u8; 32],
    type_name: [u8; 32],
}

/// `walfile_summary` of the header.
#[derive(Debug)]
#[repr(C)]
pub struct CSummary {
    records: u64,
    record_bytes: u64,
    first: u64,
    last: u64,
    valid_up_to: u64,
}

/// Runs what may panic; the code it gives.
fn guarded(work: impl FnOnce() -> i32) -> i32 {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        message::set("a bug in walfile: it panicked");
        WALFILE_BUG
    })
}

fn null() -> i32 {
    message::set("a pointer is null");
    WALFILE_ARGUMENT
}

/// A slice of what C passed; `None` for a null pointer, unless nothing is there.
///
/// # Safety
/// `bytes` is null or points to `length` bytes that nobody changes meanwhile.
unsafe fn slice<'a>(bytes: *const u8, length: usize) -> Option<&'a [u8]> {
    if length == 0 {
        return Some(&[]);
    }
    if bytes.is_null() || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: not null, not longer than a slice may be, and the caller promised the rest.
    Some(unsafe { slice::from_raw_parts(bytes, length) })
}

/// See the header.
///
/// # Safety
/// `bytes` points to `length` bytes, `reader` to a place for a pointer; null is noticed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn walfile_open(bytes: *const u8, length: usize, reader: *mut *mut Reader) -> i32 {
    guarded(|| {
        // SAFETY: promised by the caller.
        let (Some(bytes), false) = (unsafe { slice(bytes, length) }, reader.is_null()) else { return null() };
        if let Err(error) = Segment::new(bytes) {
            message::set(&error.to_string());
            return WALFILE_NOT_WAL;
        }
        let mut decoder = RecordDecoder::new();
        decoder.feed(bytes);
        // SAFETY: not null, and a place for a pointer as the caller promised.
        unsafe { reader.write(Box::into_raw(Box::new(Reader(decoder)))) };
        WALFILE_OK
    })
}

/// See the header.
///
/// # Safety
/// `reader` is from [`walfile_open`] and not closed, `bytes` points to `length` bytes; null is noticed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn walfile_feed(reader: *mut Reader, bytes: *const u8, length: usize) -> i32 {
    guarded(|| {
        // SAFETY: promised by the caller.
        let (Some(reader), Some(bytes)) = (unsafe { reader.as_mut() }, unsafe { slice(bytes, length) })
        else {
            return null();
        };
        reader.0.feed(bytes);
        WALFILE_OK
    })
}

/// See the header.
///
/// # Safety
/// `reader` is from [`walfile_open`] and not closed, `record` a place for a record; null is noticed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn walfile_next(reader: *mut Reader, record: *mut CRecord) -> i32 {
    guarded(|| {
        // SAFETY: promised by the caller.
        let (Some(reader), false) = (unsafe { reader.as_mut() }, record.is_null()) else { return null() };
        let Some(found) = reader.0.poll() else { return WALFILE_NONE };
        let value = CRecord {
            lsn: found.lsn.get(),
            end: found.end.get(),
            prev: found.header.prev.get(),
            replaces: found.replaces.map_or(0, Lsn::get),
            bytes: found.bytes.as_ptr(),
            total_len: found.header.total_len,
            xid: found.header.xid.get(),
            timeline: found.timeline.get(),
            crc: found.header.crc,
            major: found.major(),
            rmgr: found.header.rmgr.id(),
            info: found.header.info,
            rmgr_name: message::text(found.header.rmgr.name().unwrap_or("")),
            type_name: message::text(found.type_name().unwrap_or("")),
        };
        // SAFETY: not null, and a place for a record as the caller promised.
        unsafe { record.write(value) };
        WALFILE_OK
    })
}

/// See the header.
///
/// # Safety
/// `reader` is from [`walfile_open`] and not closed, `valid_up_to` a place for a number; null is noticed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn walfile_end(reader: *mut Reader, valid_up_to: *mut u64) -> i32 {
    guarded(|| {
        // SAFETY: promised by the caller.
        let (Some(reader), false) = (unsafe { reader.as_mut() }, valid_up_to.is_null()) else {
            return null();
        };
        let end = reader.0.finish();
        message::set(&end.reason.to_string());
        // SAFETY: not null, and a place for a number as the caller promised.
        unsafe { valid_up_to.write(end.at.get()) };
        WALFILE_OK
    })
}

/// See the header.
///
/// # Safety
/// `reader` is null, or from [`walfile_open`] and not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn walfile_close(reader: *mut Reader) {
    guarded(|| {
        if !reader.is_null() {
            // SAFETY: made by `Box::into_raw` in `walfile_open`, and given back once as the caller promised.
            drop(unsafe { Box::from_raw(reader) });
        }
        WALFILE_OK
    });
}

/// See the header.
///
/// # Safety
/// `bytes` points to `length` bytes, `summary` to a place for a summary; null is noticed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn walfile_verify(bytes: *const u8, length: usize, summary: *mut CSummary) -> i32 {
    guarded(|| {
        // SAFETY: promised by the caller.
        let (Some(bytes), false) = (unsafe { slice(bytes, length) }, summary.is_null()) else {
            return null();
        };
        let (found, code): (Summary, i32) = match Segment::new(bytes).map(|segment| segment.verify()) {
            Err(error) => {
                message::set(&error.to_string());
                return WALFILE_NOT_WAL;
            }
            Ok(Ok(found)) => (found, WALFILE_OK),
            Ok(Err(error)) => (*error.summary, WALFILE_DAMAGED),
        };
        message::set(&found.end.to_string());
        let value = CSummary {
            records: found.records,
            record_bytes: found.record_bytes,
            first: found.first.map_or(0, Lsn::get),
            last: found.last.map_or(0, Lsn::get),
            valid_up_to: found.end.at.get(),
        };
        // SAFETY: not null, and a place for a summary as the caller promised.
        unsafe { summary.write(value) };
        code
    })
}

//! The C interface, from a C program that links the library, against what the crate itself reads in the same segment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use walfile::Segment;

use crate::wal;

/// Builds `libwalfile.so` and says where it is.
fn library() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["rustc", "--quiet", "-p", "walfile", "--features", "capi", "--crate-type", "cdylib"]);
    let built = cargo.args(["--message-format", "json"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let built = built.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8(built.stdout).unwrap();
    let ending = format!("{}walfile{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let path = messages.split('"').find(|text| text.ends_with(&ending)).expect("a library among the files");
    PathBuf::from(path)
}

fn run(program: &Path, segment: &Path, bytes: &[u8]) -> String {
    fs::write(segment, bytes).unwrap();
    let output = Command::new(program).arg(segment).output().unwrap();
    assert!(output.status.code().is_some(), "{:?}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// What the program should print for a segment.
fn expected(bytes: &[u8]) -> String {
    let segment = Segment::new(bytes).unwrap();
    let (mut text, mut records) = (String::new(), segment.records());
    while let Some(record) = records.next_record() {
        let (lsn, end, header) = (record.lsn.get(), record.end.get(), record.header);
        let (rmgr, kind, last) = (header.rmgr, record.type_name().unwrap(), record.bytes.last().unwrap());
        text += &format!("{lsn} {end} {rmgr} {kind} {} {last}\n", header.total_len);
    }
    let end = records.end().unwrap();
    text += &format!("end {}: {}\n", end.at.get(), end.reason);
    let summary = segment.scan();
    text + &format!(
        "verify {}: {} records, {} bytes, {} to {}, valid up to {}\n",
        if summary.whole { 0 } else { -3 },
        summary.records,
        summary.record_bytes,
        summary.first.unwrap().get(),
        summary.last.unwrap().get(),
        summary.end.at.get(),
    )
}

#[test]
fn a_c_program_reads_a_segment() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("capi-{}", std::process::id()));
    fs::create_dir_all(&work).unwrap();
    let (program, file, library) = (work.join("records"), work.join("segment"), library());
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o"]).arg(&program);
    cc.arg(crate_dir.join("examples/records.c")).arg("-I").arg(crate_dir.join("include")).arg(&library);
    cc.arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
    let compiled = cc.output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

    let segment = wal::second_timeline(16);
    let first = &wal::log(16)[..wal::segment_size(16)];
    for bytes in [&segment, first] {
        assert_eq!(run(&program, &file, bytes), expected(bytes));
    }
    assert!(expected(first).contains("verify 0: ") && expected(&segment).contains("verify -3: "));
    let mut damaged = first.to_vec();
    damaged[500_000] ^= 1;
    let text = run(&program, &file, &damaged);
    assert_eq!(text, expected(&damaged));
    assert!(text.contains("checksum") && text.contains("verify -3: "), "{text}");
    assert!(run(&program, &file, &[7; 100]).starts_with("not WAL: unknown WAL page magic"));
    fs::remove_dir_all(&work).unwrap();
}

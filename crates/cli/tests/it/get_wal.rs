//! `get-wal`, option by option, beside the original on the same archive.

use std::fs;
use std::io::{Read as _, Write as _};

use walfile::codec::{Compression, Level, decoder, detect, encoder};

use crate::sshd::{Hub, Which, names, small_segment, told};

const PLAIN: &str = "0000000100000000000000F0";
const GZIP: &str = "0000000100000000000000F1";
const BZIP2: &str = "0000000100000000000000F2";
const BEGUN: &str = "0000000100000000000000F3";
const LEFT: &str = "0000000100000000000000F5";
const LABEL: &str = "0000000100000000000000F0.00000028.backup";

fn compressed(bytes: &[u8], codec: Compression) -> Vec<u8> {
    let mut encoder = encoder(Vec::new(), codec, Level::Low).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn hub() -> Hub {
    let hub = Hub::new();
    hub.archive(PLAIN, &small_segment(PLAIN, 1));
    hub.archive(GZIP, &compressed(&small_segment(GZIP, 2), Compression::Gzip));
    hub.archive(BZIP2, &compressed(&small_segment(BZIP2, 3), Compression::Bzip2));
    hub.archive(LABEL, b"START WAL LOCATION: 0/F0000028 (file 0000000100000000000000F0)\n");
    hub.archive("00000002.history", &compressed(b"1\t0/F0000000\tx\n", Compression::Gzip));
    fs::write(hub.main("streaming").join(format!("{BEGUN}.partial")), small_segment(BEGUN, 4)).unwrap();
    hub.archive(&format!("{LEFT}.partial"), &compressed(&small_segment(LEFT, 5), Compression::Gzip));
    hub
}

/// What it printed, by its first bytes; decompressed.
fn content(bytes: &[u8]) -> (Compression, Vec<u8>) {
    let codec = detect(bytes);
    let mut content = Vec::new();
    decoder(bytes, codec).unwrap().read_to_end(&mut content).unwrap();
    (codec, content)
}

#[test]
fn each_option_gives_what_the_original_gives() {
    let hub = hub();
    let out = hub.dir.path().join("out");
    let out = out.to_str().unwrap();
    let missing = "0000000100000000000000FF";
    let cases: [(&[&str], &str, i32); 29] = [
        (&[], PLAIN, 0),
        (&[], GZIP, 0),
        (&["-z"], PLAIN, 0),
        (&["-x"], GZIP, 0),
        (&["-j"], GZIP, 0),
        (&["--bzip2"], BZIP2, 0),
        (&["-z", "-j"], BZIP2, 0),
        (&["-j", "-x"], BZIP2, 0),
        (&["--keep-compression"], PLAIN, 0),
        (&["--keep-compression"], GZIP, 0),
        (&["--keep-compression", "--gzip"], GZIP, 1),
        (&["--keep-compression", "-j"], GZIP, 1),
        (&[], BEGUN, 1),
        (&["-P"], BEGUN, 0),
        (&["-P", "-z"], BEGUN, 0),
        (&["-P", "--keep-compression"], LEFT, 0),
        (&["-P"], LEFT, 0),
        (&["-P"], missing, 1),
        (&[], LABEL, 0),
        (&[], "00000002.history", 0),
        (&["--gzip"], "00000002.history", 0),
        (&["-p", "9"], PLAIN, 0),
        (&["-p", "1", "-P"], BEGUN, 0),
        (&["--peek", "3"], "00000002.history", 0),
        (&["-p", "2"], LABEL, 0),
        (&["-p", "2"], missing, 0),
        (&["--test"], "nothing", 0),
        (&["-o", out], GZIP, 0),
        (&["-z", "--output-directory", out], PLAIN, 0),
    ];
    for (options, name, code) in cases {
        let run = |which: Which| {
            drop(fs::remove_dir_all(out));
            fs::create_dir(out).unwrap();
            let mut command = which.command("barman")?;
            command.arg("-c").arg(hub.config()).arg("get-wal").args(options).args(["main", name]);
            let output = command.output().unwrap();
            let (code, _, stderr) = told(&output);
            let files: Vec<_> = names(out.as_ref())
                .into_iter()
                .map(|name| (name.clone(), content(&fs::read(format!("{out}/{name}")).unwrap())))
                .collect();
            Some((code, stderr, output.stdout, files))
        };
        let Some(theirs) = run(Which::Original) else { return };
        let ours = run(Which::Ours).unwrap();
        assert_eq!((ours.0, &ours.1), (theirs.0, &theirs.1), "{options:?} {name}");
        assert_eq!(ours.0, code, "{options:?} {name}");
        let (left, right) = (content(&ours.2), content(&theirs.2));
        assert!(left.1 == right.1, "{options:?} {name}");
        // The original sends a partial file as it is stored whatever is asked for.
        assert!(left.0 == right.0 || options.contains(&"-P"), "{options:?} {name}");
        assert!(ours.3 == theirs.3, "{options:?} {name}");
        // As it is stored means just that.
        if options.contains(&"--keep-compression") || options == ["-x"] || options == ["--bzip2"] {
            assert!(ours.2 == theirs.2, "{options:?} {name}");
        }
    }
}

/// Only a file that is not there has the exit code of one; a server or a configuration that is not there has the original's.
#[test]
fn what_is_not_missing_is_told_apart() {
    let hub = hub();
    // Without an archive nothing is known to be missing.
    fs::create_dir_all(hub.dir.path().join("home/old/wals")).unwrap();
    let bad = hub.dir.path().join("bad.conf");
    fs::write(&bad, "no configuration\n").unwrap();
    let none = hub.dir.path().join("none.conf");
    let run = |which: Which, config: &std::path::Path, args: &[&str]| {
        let mut command = which.command("barman")?;
        Some(told(&command.arg("-c").arg(config).arg("get-wal").args(args).output().unwrap()))
    };
    let good = hub.config();
    for (config, args, code) in [
        (&good, &["nosuch", PLAIN][..], 1),
        (&good, &["old", PLAIN], 1),
        (&good, &["main", "nowal"], 3),
        (&bad, &["main", PLAIN], 1),
        (&none, &["main", PLAIN], 1),
        (&good, &["-o", "/nonexistent", "main", PLAIN], 3),
    ] {
        let Some(theirs) = run(Which::Original, config, args) else { return };
        let ours = run(Which::Ours, config, args).unwrap();
        assert_eq!((ours.0, theirs.0), (code, code), "{args:?} {ours:?} {theirs:?}");
        assert!(!ours.2.is_empty(), "{args:?}");
    }
    // What is there and cannot be read: the original hands out a half, or says 1, which ends a recovery.
    hub.archive(BZIP2, &compressed(&small_segment(BZIP2, 3), Compression::Bzip2)[..100_000]);
    hub.archive(PLAIN, &small_segment(PLAIN, 3)[..100_000]);
    for name in [PLAIN, BZIP2] {
        let ours = run(Which::Ours, &good, &["main", name]).unwrap();
        assert!(ours.0 > 125 && ours.0 != 255, "{ours:?}");
    }
}

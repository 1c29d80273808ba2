//! `compression = custom`, and the codecs that have two names: archived, listed and handed out as the original does.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use sha2::Digest as _;

use crate::sshd::{Hub, SYSTEM, Which, segment, told};

const NAME: &str = "0000000100000000000000F0";
const HISTORY: &str = "00000002.history";

fn hub(compression: &str) -> Hub {
    let hub = Hub::new();
    let config = fs::read_to_string(hub.config()).unwrap();
    fs::write(hub.config(), config.replace("archiver = on\n", &format!("archiver = on\n{compression}\n")))
        .unwrap();
    hub
}

fn run(hub: &Hub, which: Which, args: &[&str]) -> Option<(i32, Vec<u8>, String)> {
    let mut command = which.command("barman")?;
    let output = command.arg("-c").arg(hub.config()).args(args).output().unwrap();
    let (code, _, stderr) = told(&output);
    Some((code, output.stdout, stderr))
}

fn queue(hub: &Hub, content: &[u8]) {
    for (name, bytes) in [(NAME, content), (HISTORY, b"1\t0/F0000000\tno recovery target specified\n")] {
        let path = hub.main("incoming").join(name);
        fs::write(&path, bytes).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_795_232_976)).unwrap();
    }
}

/// In parentheses, because the original redirects only the last command.
const FILTER: &str = "compression = custom\n\
    custom_compression_filter = (gzip -cn1 | tr '\\000-\\377' '\\001-\\377\\000')\n\
    custom_decompression_filter = (tr '\\001-\\377\\000' '\\000-\\377' | gzip -dc)";

#[test]
fn the_users_own_filter_is_undone_wherever_wal_comes_out() {
    let content = segment(NAME, SYSTEM, 1);
    for magic in ["", "\ncustom_compression_magic = 0x208c09"] {
        let hubs = [Which::Ours, Which::Original].map(|which| (hub(&format!("{FILTER}{magic}")), which));
        let mut listed = Vec::new();
        let mut stored = Vec::new();
        for (hub, which) in &hubs {
            queue(hub, &content);
            let Some(archived) = run(hub, *which, &["archive-wal", "main"]) else { return };
            assert_eq!(archived.0, 0, "{archived:?}");
            assert_eq!(hub.names("incoming"), [""; 0]);
            stored.push(fs::read(hub.main("wals").join(&NAME[..16]).join(NAME)).unwrap());
            listed.push(fs::read_to_string(hub.main("wals/main-xlog.db")).unwrap());
            for reader in [Which::Ours, Which::Original] {
                let get = |options: &[&str], name: &str| {
                    let got = run(hub, reader, &[&["get-wal"], options, &["main", name]].concat()).unwrap();
                    assert_eq!(got.0, 0, "{magic} {which:?} {reader:?} {options:?}: {}", got.2);
                    got.1
                };
                assert!(get(&[], NAME) == content, "{magic} {which:?} {reader:?}");
                assert!(get(&["--keep-compression"], NAME) == stored[0], "{magic} {which:?} {reader:?}");
                let mut zipped = Vec::new();
                let bytes = get(&["-z"], NAME);
                let mut decoder =
                    walfile::codec::decoder(&bytes[..], walfile::codec::Compression::Gzip).unwrap();
                std::io::copy(&mut decoder, &mut zipped).unwrap();
                assert!(zipped == content, "{magic} {which:?} {reader:?}");
                assert!(get(&[], HISTORY).starts_with(b"1\t0/F0000000\t"));
                assert_eq!(get(&["-p", "2"], NAME), format!("{NAME}\n").as_bytes());
            }
        }
        assert!(stored[0] == stored[1]);
        assert_eq!(listed[0], listed[1]);
        assert!(listed[0].contains("\tcustom\t"), "{}", listed[0]);
        // Anew: the labels are seen in the files.
        for (hub, which) in &hubs {
            assert_eq!(run(hub, *which, &["rebuild-xlogdb", "main"]).unwrap().0, 0);
            assert_eq!(
                fs::read_to_string(hub.main("wals/main-xlog.db")).unwrap(),
                listed[0],
                "{magic} {which:?}"
            );
        }

        // PostgreSQL sends again what it was not told of; on the same host it is the same.
        let hub = &hubs[0].0;
        let sum: String = sha2::Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in [(NAME, &content[..]), ("SHA256SUMS", format!("{sum} *{NAME}\n").as_bytes())] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, name, bytes).unwrap();
        }
        let put = told(&hub.put_wal(Which::Ours, &tar.into_inner().unwrap()).unwrap());
        assert_eq!(put, (0, String::new(), String::new()));
        let own = hub.dir.path().join(NAME);
        fs::write(&own, &content).unwrap();
        let mut command = Which::Ours.command("tapster").unwrap();
        let again = command.arg("-c").arg(hub.config()).args(["wal-archive", "main"]).arg(&own).output();
        assert_eq!(told(&again.unwrap()), (0, String::new(), String::new()));
        assert_eq!((hub.names("incoming"), hub.names("errors")), (vec![], vec![]));
    }
}

#[test]
fn a_codec_is_listed_under_the_name_it_was_configured_with() {
    let content = segment(NAME, SYSTEM, 1);
    for name in ["pigz", "pygzip", "pybzip2", "gzip"] {
        // The original runs pigz itself.
        let both: &[Which] = if name == "pigz" { &[Which::Ours] } else { &[Which::Ours, Which::Original] };
        for which in both {
            let hub = hub(&format!("compression = {name}"));
            queue(&hub, &content);
            let Some(archived) = run(&hub, *which, &["archive-wal", "main"]) else { return };
            assert_eq!(archived.0, 0, "{archived:?}");
            let listed = fs::read_to_string(hub.main("wals/main-xlog.db")).unwrap();
            assert!(listed.lines().all(|line| line.split('\t').nth(3) == Some(name)), "{which:?}: {listed}");
            // Which of them it was cannot be seen in the files.
            assert_eq!(run(&hub, *which, &["rebuild-xlogdb", "main"]).unwrap().0, 0);
            let anew = fs::read_to_string(hub.main("wals/main-xlog.db")).unwrap();
            let codec = if name == "pybzip2" { "bzip2" } else { "gzip" };
            assert!(anew.lines().all(|line| line.split('\t').nth(3) == Some(codec)), "{which:?}: {anew}");
        }
    }
}

//! The push parser against the `tar` crate.

use std::io::Read;

use proptest::collection::vec;
use proptest::prelude::*;
use tapster_copy::tar::{Event, MemberKind, Parser};

#[derive(Debug, PartialEq)]
pub struct Seen {
    path: String,
    kind: String,
    data: Vec<u8>,
    mode: u32,
}

pub fn parse(bytes: &[u8], pieces: &[usize]) -> Vec<Seen> {
    let mut parser = Parser::new();
    let mut seen: Vec<Seen> = Vec::new();
    let (mut rest, mut sizes) = (bytes, pieces.iter().cycle());
    let mut open = false;
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| (*size).min(rest.len()));
        let (mut input, after) = rest.split_at(size);
        rest = after;
        while let Some(event) = parser.next(&mut input).unwrap() {
            match event {
                Event::Member(member) => {
                    assert!(!std::mem::replace(&mut open, true));
                    let kind = match member.kind {
                        MemberKind::File => "file".to_owned(),
                        MemberKind::Directory => "directory".to_owned(),
                        MemberKind::Symlink(target) => format!("link {}", target.to_str().unwrap()),
                    };
                    let path = member.path.to_str().unwrap().to_owned();
                    seen.push(Seen { path, kind, data: Vec::new(), mode: member.mode });
                }
                Event::Data(data) => seen.last_mut().unwrap().data.extend_from_slice(data),
                Event::End => assert!(std::mem::take(&mut open)),
                Event::EndOfArchive => {}
            }
        }
    }
    parser.finish().unwrap();
    seen
}

fn oracle(bytes: &[u8]) -> Vec<Seen> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        let path = entry.path().unwrap().components().collect::<std::path::PathBuf>();
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => "directory".to_owned(),
            tar::EntryType::Symlink => {
                format!("link {}", entry.link_name().unwrap().unwrap().to_str().unwrap())
            }
            _ => "file".to_owned(),
        };
        Seen { path: path.to_str().unwrap().to_owned(), kind, data, mode: entry.header().mode().unwrap() }
    });
    entries.collect()
}

fn archive(members: &[(String, u8, Vec<u8>)], terminated: bool) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, data) in members {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o640);
        header.set_mtime(7);
        match kind {
            0 => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                builder.append_data(&mut header, format!("{name}/"), &[][..]).unwrap();
            }
            1 => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, name, format!("/target/{name}")).unwrap();
            }
            _ => {
                if kind % 2 == 0 {
                    let size = data.len().to_string();
                    builder.append_pax_extensions([("size", size.as_bytes())]).unwrap();
                }
                header.set_size(data.len() as u64);
                builder.append_data(&mut header, name, data.as_slice()).unwrap();
            }
        }
    }
    let mut bytes = builder.into_inner().unwrap();
    if !terminated {
        bytes.truncate(bytes.len() - 1024);
    }
    bytes
}

proptest! {
    #[test]
    fn pieces_and_the_oracle_agree(
        members in vec(("[a-z\n]{1,80}(/[a-z0-9_é]{1,90}[a-z]){0,3}", 0_u8..6, vec(any::<u8>(), 0..2000)), 0..8),
        terminated: bool,
        pieces in vec(1_usize..1500, 1..20),
    ) {
        let bytes = archive(&members, terminated);
        let whole = parse(&bytes, &[]);
        prop_assert_eq!(&whole, &parse(&bytes, &pieces));
        prop_assert_eq!(&whole, &oracle(&bytes));
        prop_assert_eq!(whole.len(), members.len());
    }

    #[test]
    fn any_bytes_end_in_an_error_or_a_result(bytes in vec(any::<u8>(), 0..3000)) {
        let mut parser = Parser::new();
        let mut input = bytes.as_slice();
        while let Ok(Some(_)) = parser.next(&mut input) {}
        let _ = parser.finish();
    }
}

#[test]
fn a_cut_stream_is_seen_wherever_it_is_cut() {
    let bytes = archive(&[("base/1".into(), 3, vec![1; 700])], true);
    for cut in 1..bytes.len() {
        let mut parser = Parser::new();
        let mut input = &bytes[..cut];
        while parser.next(&mut input).unwrap().is_some() {}
        let complete = cut == bytes.len() - 1024 || cut >= bytes.len() - 512;
        assert_eq!(parser.finish().is_ok(), complete, "{cut}");
    }
    let mut after = bytes;
    after.push(1);
    let mut parser = Parser::new();
    let mut input = after.as_slice();
    let error = loop {
        match parser.next(&mut input) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("data after the end was taken"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("after its end"), "{error}");
}

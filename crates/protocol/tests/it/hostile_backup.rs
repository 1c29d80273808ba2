//! Base backups that end before they are whole.

use std::io::{Read, Write};
use std::net::TcpListener;

use tapster_protocol::{
    BackupEnd, BaseBackupError, BaseBackupOptions, ConnInfo, ConnectOptions, Connection, Environment, Mode,
};

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], (body.len() as u32 + 4).to_be_bytes().as_slice(), body].concat()
}

fn rows(columns: u16, rows: &[&[Option<&str>]]) -> Vec<u8> {
    let mut description = columns.to_be_bytes().to_vec();
    for _ in 0..columns {
        description.extend_from_slice(b"c\0");
        description.extend_from_slice(&[0; 18]);
    }
    let mut bytes = message(b'T', &description);
    for row in rows {
        let mut body = columns.to_be_bytes().to_vec();
        for value in *row {
            match value {
                Some(text) => {
                    body.extend_from_slice(&(text.len() as u32).to_be_bytes());
                    body.extend_from_slice(text.as_bytes());
                }
                None => body.extend_from_slice(&[0xff; 4]),
            }
        }
        bytes.extend(message(b'D', &body));
    }
    bytes.extend(message(b'C', b"SELECT\0"));
    bytes
}

/// What the server says between the list of its tablespaces (16384 and the main directory) and the end position.
fn backup(version: &'static str, stream: Vec<Vec<u8>>) -> Result<BackupEnd, BaseBackupError> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut length = [0; 4];
        socket.read_exact(&mut length).unwrap();
        socket.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4]).unwrap();
        let mut hello = message(b'R', &[0; 4]);
        hello.extend(message(b'S', format!("server_version\0{version}\0").as_bytes()));
        hello.extend(message(b'Z', b"I"));
        socket.write_all(&hello).unwrap();
        let mut header = [0; 5];
        socket.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize - 4;
        socket.read_exact(&mut vec![0; length]).unwrap();
        let position: &[&[Option<&str>]] = &[&[Some("0/2000028"), Some("1")]];
        let spaces: &[&[Option<&str>]] =
            &[&[Some("16384"), Some("/space"), Some("1")], &[None, None, Some("1")]];
        let mut answer = [rows(2, position), rows(3, spaces)].concat();
        answer.extend(stream.concat());
        answer.extend(rows(2, position));
        answer.extend(message(b'C', b"BASE_BACKUP\0"));
        answer.extend(message(b'Z', b"I"));
        socket.write_all(&answer).unwrap();
        let _ = socket.read(&mut [0; 64]);
    });
    let text = format!("host=127.0.0.1 port={port} user=u sslmode=disable");
    let options = ConnectOptions::resolve(&ConnInfo::parse(&text).unwrap(), &Environment::default()).unwrap();
    let mut connection = Connection::connect(&options, Mode::PhysicalReplication).unwrap();
    let result = connection.base_backup(&BaseBackupOptions::default()).unwrap().finish();
    drop(connection);
    server.join().unwrap();
    result
}

fn copy_out() -> Vec<u8> {
    message(b'H', &[0, 0, 0])
}

fn copy_done() -> Vec<u8> {
    message(b'c', b"")
}

fn data(payload: &[u8]) -> Vec<u8> {
    message(b'd', payload)
}

fn without(stream: &[Vec<u8>], place: usize) -> Vec<Vec<u8>> {
    let mut less = stream.to_vec();
    less.remove(place);
    less
}

fn incomplete(version: &'static str, stream: Vec<Vec<u8>>, what: &str) {
    match backup(version, stream) {
        Err(BaseBackupError::Order(_)) => {}
        other => panic!("{version}, {what}: {other:?}"),
    }
}

#[test]
fn one_copy_for_all() {
    let whole = vec![
        copy_out(),
        data(b"n16384.tar\0/space\0"),
        data(b"dspace"),
        data(b"nbase.tar\0\0"),
        data(b"dbase"),
        data(b"m"),
        data(b"d{}"),
        copy_done(),
    ];
    backup("15.4", whole.clone()).unwrap();
    for (place, what) in
        [(0, "no COPY"), (1, "no first name"), (3, "no base"), (5, "no manifest"), (7, "COPY without end")]
    {
        incomplete("15.4", without(&whole, place), what);
    }
    let mut twice = whole.clone();
    twice[1] = twice[3].clone();
    incomplete("15.4", twice, "one archive in place of the other");
    incomplete("15.4", Vec::new(), "nothing");
}

#[test]
fn one_copy_for_each() {
    let whole = vec![
        copy_out(),
        data(b"space"),
        copy_done(),
        copy_out(),
        data(b"base"),
        copy_done(),
        copy_out(),
        data(b"{}"),
        copy_done(),
    ];
    backup("14.9", whole.clone()).unwrap();
    for (place, what) in [(2, "an archive without end"), (8, "a manifest without end"), (6, "no third COPY")]
    {
        incomplete("14.9", without(&whole, place), what);
    }
    incomplete("14.9", whole[..6].to_vec(), "no manifest");
    incomplete("14.9", whole[..3].to_vec(), "no base");
    incomplete("14.9", [whole.clone(), whole[..3].to_vec()].concat(), "an archive too many");
}

//! Properties of `tapster-protocol`.

use tapster_protocol::ServerVersion;
use tapster_protocol::auth::{AuthStep, Authenticator, ServerEndPoint};
use tapster_protocol::conninfo::{ConnInfo, ConnectOptions, Environment};
use tapster_protocol::proto::{
    BackendMessage, BackupMessage, FrameBuffer, FrameError, FrameLimits, Rows, WalMessage, archive_oid,
};

/// Any text: parsed or refused; what was parsed reads back the same when quoted, is resolved or refused without
/// touching files, and shows no password.
pub fn conninfo(data: &[u8]) {
    const CANARY: &str = "kanarienvogel";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(mut parsed) = ConnInfo::parse(text) else { return };
    assert_eq!(ConnInfo::parse(&parsed.to_conninfo_string()).ok().as_ref(), Some(&parsed));

    // The files these name are the machine's, not the input's.
    for keyword in ["service", "servicefile", "passfile"] {
        parsed.remove(keyword);
    }
    if text.contains(CANARY) || parsed.set("password", CANARY).is_err() {
        return;
    }
    assert!(!format!("{parsed} {parsed:?}").contains(CANARY));
    let environment = Environment { os_user: Some(String::from("fuzz")), ..Environment::default() };
    let Ok(options) = ConnectOptions::resolve(&parsed, &environment) else { return };
    assert!(!format!("{options:?}").contains(CANARY));
    assert!(!options.hosts().is_empty());
    let order = options.connection_order(u64::try_from(data.len()).unwrap_or(0));
    assert_eq!(order.len(), options.hosts().len());
    for host in options.hosts() {
        assert!(host.port > 0);
        assert!(options.password(host, true).is_some_and(|password| password.expose() == CANARY.as_bytes()));
    }
}

/// Any sequence of authentication messages (code, length, body): nobody who does not know the password is believed.
pub fn scram(data: &[u8]) {
    let Some((&kind, mut rest)) = data.split_first() else { return };
    let end_point = match kind % 3 {
        0 => ServerEndPoint::NoTls,
        1 => ServerEndPoint::Unavailable,
        _ => ServerEndPoint::Hash(vec![kind; 32]),
    };
    let conninfo = ConnInfo::parse("host=h user=u password=pencil require_auth=scram-sha-256");
    let Ok(options) = conninfo.and_then(|it| ConnectOptions::resolve(&it, &Environment::default())) else {
        return;
    };
    let Some(host) = options.hosts().first() else { return };
    let mut client = Authenticator::new(&options, host, false, end_point);
    // Each accepted first message may cost 100 000 rounds of HMAC; one exchange is all a connection gets.
    for _ in 0..8 {
        let Some((&[code, length], tail)) = rest.split_first_chunk::<2>() else { return };
        let Some((body, after)) = tail.split_at_checked(usize::from(length)) else { return };
        rest = after;
        let message: Vec<u8> =
            u32::from(code).to_be_bytes().into_iter().chain(body.iter().copied()).collect();
        match client.receive(&message) {
            Ok(step) => assert_ne!(step, AuthStep::Done),
            Err(_) => return,
        }
    }
}

/// Any bytes in any pieces: the same frames, the same error, and a buffer no larger than its limit.
pub fn frames(data: &[u8]) {
    let Some((&piece, stream)) = data.split_first() else { return };
    let pieces = cut(stream, usize::from(piece).max(1));
    assert_eq!(pieces, cut(stream, usize::MAX));
}

/// The tags and lengths of the frames in `stream`, read `piece` bytes at a time, and the error that ended it.
fn cut(mut stream: &[u8], piece: usize) -> (Vec<(u8, Vec<u8>)>, Option<FrameError>) {
    const LIMIT: usize = 4096;
    let mut limits = FrameLimits::default();
    limits.initial = 64;
    limits.max_frame = LIMIT;
    let mut buffer = FrameBuffer::new(limits);
    let mut found = Vec::new();
    loop {
        loop {
            match buffer.next() {
                Ok(Some(frame)) => found.push((frame.tag, buffer.body(&frame).to_vec())),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
        if stream.is_empty() {
            return (found, None);
        }
        let spare = buffer.spare();
        assert!(!spare.is_empty() && spare.len() <= LIMIT);
        let count = spare.len().min(piece).min(stream.len());
        let (now, later) = stream.split_at(count);
        spare.iter_mut().zip(now).for_each(|(room, byte)| *room = *byte);
        buffer.filled(count);
        stream = later;
    }
}

/// Any message body through every reader of the protocol: no panic, and what is handed out came in.
pub fn backend_messages(data: &[u8]) {
    let Some((&tag, body)) = data.split_first() else { return };
    match BackendMessage::parse(tag, body) {
        Ok(BackendMessage::CopyData(payload)) => copy_data(payload),
        Ok(BackendMessage::RowDescription(description)) => {
            // The rest of the input once more, as rows.
            if let Ok(mut rows) = Rows::describe(description) {
                for row in body.chunks(16) {
                    let _ = rows.push(row);
                }
                assert!(rows.iter().all(|row| row.len() == rows.columns().len()));
            }
        }
        Ok(BackendMessage::Error(error) | BackendMessage::Notice(error)) => {
            assert!(!error.to_string().contains(['\n', '\u{1b}']));
        }
        Ok(BackendMessage::ParameterStatus { value, .. }) => {
            let version = std::str::from_utf8(value).ok().and_then(ServerVersion::parse);
            assert!(version.is_none_or(|version| version.major() > 0));
        }
        _ => {}
    }
}

fn copy_data(payload: &[u8]) {
    if let Ok(WalMessage::Data { start, bytes, .. }) = WalMessage::parse(payload) {
        assert_eq!(bytes.len() + 25, payload.len());
        assert!(start.checked_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX)).is_some());
    }
    if let Ok(Some(BackupMessage::Archive { name, .. })) = BackupMessage::parse(payload)
        && archive_oid(name).is_ok()
    {
        assert!(!name.contains(['/', '\\']) && !name.starts_with('.') && !name.is_empty());
    }
}

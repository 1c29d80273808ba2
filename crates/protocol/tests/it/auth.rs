//! The authentication exchange against a server made of messages: what it accepts, and every way it must refuse.

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tapster_protocol::auth::{AuthError, AuthStep, Authenticator, ServerEndPoint};
use tapster_protocol::conninfo::{ConnInfo, ConnectOptions, Environment};

fn authenticator(text: &str, end_point: ServerEndPoint) -> Authenticator {
    let options = ConnectOptions::resolve(
        &ConnInfo::parse(&format!("user=md5_user host=h {text}")).unwrap(),
        &Environment::default(),
    )
    .unwrap();
    Authenticator::new(&options, &options.hosts()[0], false, end_point)
}

fn plain(text: &str) -> Authenticator {
    authenticator(text, ServerEndPoint::NoTls)
}

fn body(code: u32, rest: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), rest].concat()
}

/// The body of the `p` message to send.
fn sent(step: AuthStep) -> Vec<u8> {
    let AuthStep::Send(bytes) = step else { panic!("{step:?}") };
    assert_eq!(bytes[0], b'p');
    assert_eq!(u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize, bytes.len() - 1);
    bytes[5..].to_vec()
}

const OK: [u8; 4] = [0; 4];
const BOTH: &[u8] = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
const SCRAM: &[u8] = b"SCRAM-SHA-256\0\0";

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).copied().unwrap_or(0) ^ byte).collect() };
    let inner = Sha256::digest([pad(0x36).as_slice(), message].concat());
    Sha256::digest([pad(0x5c).as_slice(), inner.as_slice()].concat()).into()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let word = chunk
                .iter()
                .chain(&[0, 0])
                .take(3)
                .fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
            (0..4)
                .map(move |i| if i <= chunk.len() { DIGITS[word >> (18 - 6 * i) & 63] as char } else { '=' })
        })
        .collect()
}

/// A server that knows the password and keeps to RFC 5802.
struct ScramServer {
    password: &'static str,
    client_first_bare: String,
    server_first: String,
}

const SALT: &[u8] = b"some salt";
const ITERATIONS: u32 = 3;

impl ScramServer {
    fn new(password: &'static str, initial: &[u8]) -> (Self, String, String) {
        let end = initial.iter().position(|byte| *byte == 0).unwrap();
        let mechanism = String::from_utf8(initial[..end].to_vec()).unwrap();
        let length = u32::from_be_bytes(initial[end + 1..end + 5].try_into().unwrap()) as usize;
        let message = String::from_utf8(initial[end + 5..].to_vec()).unwrap();
        assert_eq!(message.len(), length);
        let (header, bare) = message.split_once(",,").unwrap();
        let nonce = bare.split_once("r=").unwrap().1;
        let server_first = format!("r={nonce}SERVER,s={},i={ITERATIONS}", base64(SALT));
        (Self { password, client_first_bare: bare.to_owned(), server_first }, mechanism, header.to_owned())
    }

    /// Checks the client's proof and returns the channel binding it sent and the server's final message.
    fn finish(&self, client_final: &[u8]) -> (String, String) {
        let client_final = String::from_utf8(client_final.to_vec()).unwrap();
        let (without_proof, proof) = client_final.rsplit_once(",p=").unwrap();
        let mut block = hmac(self.password.as_bytes(), &[SALT, &[0, 0, 0, 1]].concat());
        let mut salted = block;
        for _ in 1..ITERATIONS {
            block = hmac(self.password.as_bytes(), &block);
            salted.iter_mut().zip(block).for_each(|(a, b)| *a ^= b);
        }
        let message = format!("{},{},{without_proof}", self.client_first_bare, self.server_first);
        let client_key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(client_key), message.as_bytes());
        let expected: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(proof, base64(&expected));
        let verifier = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());
        let binding = without_proof.strip_prefix("c=").unwrap().split_once(',').unwrap().0;
        (binding.to_owned(), format!("v={}", base64(&verifier)))
    }
}

/// Runs an exchange to its end; the mechanism, the GS2 header and the binding that the client sent.
fn scram(client: &mut Authenticator, offer: &[u8]) -> Result<(String, String, String), AuthError> {
    let initial = sent(client.receive(&body(10, offer))?);
    let (server, mechanism, header) = ScramServer::new("pencil", &initial);
    let answer = sent(client.receive(&body(11, server.server_first.as_bytes()))?);
    let (binding, last) = server.finish(&answer);
    assert_eq!(client.receive(&body(12, last.as_bytes()))?, AuthStep::Continue);
    assert_eq!(client.receive(&OK)?, AuthStep::Done);
    Ok((mechanism, header, binding))
}

fn hash() -> ServerEndPoint {
    ServerEndPoint::Hash(vec![7; 32])
}

#[test]
fn base64_of_the_test_server() {
    assert_eq!([base64(b"f"), base64(b"fo"), base64(b"foo")].join(" "), "Zg== Zm8= Zm9v");
}

#[test]
fn trust() {
    assert_eq!(plain("").receive(&OK).unwrap(), AuthStep::Done);
    assert!(matches!(plain("require_auth=scram-sha-256").receive(&OK), Err(AuthError::NotAllowed { .. })));
    plain("require_auth=none").receive(&OK).unwrap();
    let refused = authenticator("channel_binding=require", hash()).receive(&OK).unwrap_err();
    assert!(matches!(refused, AuthError::ChannelBinding { .. }));
}

#[test]
fn cleartext() {
    let mut client = plain("password=secret");
    assert!(!client.password_requested());
    let step = client.receive(&body(3, b"")).unwrap();
    assert!(!format!("{step:?}").contains("secret"));
    assert_eq!(sent(step), b"secret\0");
    assert!(client.password_requested());
    assert_eq!(client.receive(&OK).unwrap(), AuthStep::Done);
    assert!(matches!(client.receive(&OK), Err(AuthError::OutOfOrder { .. })));
    assert!(matches!(plain("").receive(&body(3, b"")), Err(AuthError::NoPassword)));
    for text in ["require_auth=!password", "require_auth=scram-sha-256", "channel_binding=require"] {
        plain(&format!("password=secret {text}")).receive(&body(3, b"")).unwrap_err();
    }
}

#[test]
fn md5() {
    let request = body(5, &[0x2a, 0x3d, 0x8f, 0xe0]);
    let mut client = plain("password=password");
    assert_eq!(sent(client.receive(&request).unwrap()), b"md562af4dd09bbb41884907a838a3233294\0");
    assert_eq!(client.receive(&OK).unwrap(), AuthStep::Done);
    for text in ["require_auth=!md5", "channel_binding=require"] {
        plain(&format!("password=password {text}")).receive(&request).unwrap_err();
    }
    assert!(matches!(plain("password=p").receive(&body(5, &[1, 2, 3])), Err(AuthError::Malformed { .. })));
}

#[test]
fn scram_without_tls() {
    let run = |text: &str, offer| scram(&mut plain(&format!("password=pencil {text}")), offer);
    let (mechanism, header, binding) = run("", SCRAM).unwrap();
    assert_eq!((mechanism.as_str(), header.as_str(), binding), ("SCRAM-SHA-256", "n", base64(b"n,,")));
    run("require_auth=scram-sha-256", SCRAM).unwrap();
    assert!(matches!(run("", BOTH), Err(AuthError::PlusWithoutTls)));
    assert!(matches!(run("channel_binding=require", SCRAM), Err(AuthError::ChannelBinding { .. })));
    assert!(matches!(run("require_auth=md5", SCRAM), Err(AuthError::NotAllowed { .. })));
    assert!(matches!(run("", b"SCRAM-SHA-512\0\0"), Err(AuthError::NoMechanism)));
    assert!(matches!(run("", b""), Err(AuthError::NoMechanism)));
}

#[test]
fn scram_with_channel_binding() {
    let run = |text: &str, end_point, offer| {
        scram(&mut authenticator(&format!("password=pencil {text}"), end_point), offer)
    };
    let bound = base64(&[b"p=tls-server-end-point,,".as_slice(), &[7; 32]].concat());
    for text in ["", "channel_binding=require"] {
        let (mechanism, header, binding) = run(text, hash(), BOTH).unwrap();
        assert_eq!((mechanism.as_str(), header.as_str()), ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point"));
        assert_eq!(binding, bound);
    }
    // The client could, the server did not offer: said in the header, so that a server that did offer notices.
    assert_eq!(run("", hash(), SCRAM).unwrap().1, "y");
    assert_eq!(run("", ServerEndPoint::Unavailable, SCRAM).unwrap().1, "y");
    for end_point in [hash(), ServerEndPoint::Unavailable] {
        assert_eq!(run("channel_binding=disable", end_point.clone(), BOTH).unwrap().1, "n");
        assert_eq!(run("channel_binding=disable", end_point, SCRAM).unwrap().1, "n");
    }
    assert_eq!(run("", ServerEndPoint::NoTls, SCRAM).unwrap().1, "n");
    // No hash for this certificate: go on without, unless it was required.
    assert_eq!(run("", ServerEndPoint::Unavailable, BOTH).unwrap().1, "n");
    for (end_point, offer) in [(hash(), SCRAM), (ServerEndPoint::Unavailable, BOTH)] {
        let refused = run("channel_binding=require", end_point, offer).unwrap_err();
        assert!(matches!(refused, AuthError::ChannelBinding { .. }));
    }
}

/// Begins SCRAM and returns the client and its honest server.
fn begun() -> (Authenticator, ScramServer) {
    let mut client = plain("password=pencil");
    let initial = sent(client.receive(&body(10, SCRAM)).unwrap());
    let (server, ..) = ScramServer::new("pencil", &initial);
    (client, server)
}

#[test]
fn server_must_prove_that_it_knows_the_password() {
    let (mut client, _) = begun();
    assert!(matches!(client.receive(&OK), Err(AuthError::ServerNotVerified)));

    let (mut client, server) = begun();
    client.receive(&body(11, server.server_first.as_bytes())).unwrap();
    assert!(matches!(client.receive(&OK), Err(AuthError::ServerNotVerified)));

    let finals =
        [format!("v={}", base64(&[0; 32])), String::from("v="), String::from("e=other-error"), String::new()];
    for last in finals {
        let (mut client, server) = begun();
        client.receive(&body(11, server.server_first.as_bytes())).unwrap();
        assert!(matches!(client.receive(&body(12, last.as_bytes())), Err(AuthError::Scram { .. })), "{last}");
        assert!(client.receive(&OK).is_err(), "a failed exchange stays failed");
    }
}

#[test]
fn hostile_first_messages() {
    let nonce = |server: &ScramServer| server.client_first_bare.split_once("r=").unwrap().1.to_owned();
    let messages: [fn(&str) -> String; 8] = [
        |nonce| format!("r={nonce}S,s=AAAA,i=0"),
        |nonce| format!("r={nonce}S,s=AAAA,i=4294967295"),
        |nonce| format!("r={nonce}S,s=AAAA,i=100001"),
        |nonce| format!("r={nonce}S,s=,i=4096"),
        |nonce| format!("r={nonce}S,s=A!A,i=4096"),
        |nonce| format!("r={nonce}S,s=AAAA"),
        |_| String::from("r=other,s=AAAA,i=4096"),
        |_| String::new(),
    ];
    for message in messages {
        let (mut client, server) = begun();
        let message = message(&nonce(&server));
        assert!(client.receive(&body(11, message.as_bytes())).is_err(), "{message}");
    }
    // The server's part of the nonce may not be empty.
    let (mut client, server) = begun();
    let echoed = format!("r={},s=AAAA,i=4096", nonce(&server));
    assert!(client.receive(&body(11, echoed.as_bytes())).is_err());
}

#[test]
fn messages_out_of_order() {
    for code in [11, 12] {
        assert!(matches!(plain("password=p").receive(&body(code, b"")), Err(AuthError::OutOfOrder { .. })));
    }
    let (mut client, _) = begun();
    assert!(matches!(client.receive(&body(3, b"")), Err(AuthError::OutOfOrder { .. })));
    for code in [2, 7, 8, 9, 13, u32::MAX] {
        assert!(matches!(plain("password=p").receive(&body(code, b"")), Err(AuthError::Unsupported { .. })));
    }
    assert!(matches!(plain("").receive(&[0, 0]), Err(AuthError::Malformed { .. })));
}

proptest! {
    #[test]
    fn any_server_is_answered_or_refused(
        messages in prop::collection::vec((0_u32..14, prop::collection::vec(any::<u8>(), 0..60)), 0..6),
    ) {
        let mut client = authenticator("password=pencil require_auth=scram-sha-256", hash());
        for (code, rest) in messages {
            // Nobody without the password gets to the end.
            prop_assert_ne!(client.receive(&body(code, &rest)).ok(), Some(AuthStep::Done));
        }
    }
}

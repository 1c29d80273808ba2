//! A cluster of three nodes, of which one crashes or is cut off in the middle of what it does.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tapster_cloud::testing::Garage;
use tapster_cloud::{CloudError, DownloadOptions, Environment, PutMode, Store, WriteOptions};

use crate::hostile::{Reply, Request, Server};
use crate::noise;

const SIZE: u32 = (52 << 20) + 17;

fn write(store: &Store, key: &str, bytes: &[u8]) -> Result<u64, CloudError> {
    let mut upload = store.upload(key, WriteOptions::default())?;
    // An error of writing says what one of finishing would.
    let _ = upload.write_all(bytes);
    upload.finish()
}

fn all(store: &Store, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.get(key, None).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn keys(store: &Store) -> Vec<String> {
    store.list("").map(|object| object.unwrap().key).collect()
}

#[test]
fn every_call_is_understood() {
    let Some(garage) = Garage::start() else { return };
    let store = garage.store(0, "p");
    assert!(store.bucket_exists().unwrap());
    let bytes = noise(SIZE);
    let mut options = WriteOptions::default();
    options.tags = vec![("team".to_owned(), "a b".to_owned())];
    store.put("small", bytes[..100_003].to_vec(), &options).unwrap();
    write(&store, "large", &bytes).unwrap();
    for node in 0..3 {
        let store = garage.store(node, "p");
        assert!(all(&store, "large") == bytes && all(&store, "small") == bytes[..100_003]);
        assert_eq!(store.head("large").unwrap().size, bytes.len() as u64);
        assert_eq!(keys(&store), ["large", "small"]);
    }
    let mut part = Vec::new();
    store.get("large", Some(9_000_000..19_000_000)).unwrap().read_to_end(&mut part).unwrap();
    assert!(part == bytes[9_000_000..19_000_000]);
    let mut create = WriteOptions::default();
    create.mode = PutMode::Create;
    assert!(matches!(store.put("small", &b"x"[..], &create), Err(CloudError::Exists { .. })));
    let mut upload = store.upload("large", create).unwrap();
    upload.write_all(&bytes[..9 << 20]).unwrap();
    assert!(matches!(upload.finish(), Err(CloudError::Exists { .. })));
    store.delete(&["large".to_owned(), "small".to_owned(), "never".to_owned()]).unwrap();
    for error in [store.head("large").unwrap_err(), store.get("large", None).unwrap_err()] {
        assert!(matches!(error, CloudError::NotFound { .. }), "{error}");
    }

    let open = |bucket: &str, secret: &str| {
        let environment: Environment = garage
            .variables()
            .into_iter()
            .map(|(name, value)| (name, if name.contains("SECRET") { secret.to_owned() } else { value }))
            .collect();
        Store::open(&format!("s3://{bucket}").parse().unwrap(), garage.options(0), &environment).unwrap()
    };
    for error in [
        open("bucket", "wrong").head("small").unwrap_err(),
        open("bucket", "wrong").put("small", &b"x"[..], &WriteOptions::default()).unwrap_err(),
        open("bucket", "wrong").list("").next().unwrap().unwrap_err(),
    ] {
        assert!(matches!(error, CloudError::Denied { .. }), "{error}");
        assert!(!error.to_string().contains("wrong\n"), "{error}");
    }
    let (_, secret) = garage.variables().swap_remove(1);
    let missing = open("missing", &secret);
    for error in [missing.head("a").unwrap_err(), missing.get("a", None).unwrap_err()] {
        assert!(matches!(error, CloudError::NoBucket { .. }), "{error}");
    }
    missing.create_bucket().unwrap();
    assert!(missing.bucket_exists().unwrap());
    missing.put("a", &b"x"[..], &WriteOptions::default()).unwrap();
}

/// Two of three nodes are enough for everything, whenever the third goes.
#[test]
fn a_node_that_crashes_takes_nothing_with_it() {
    let Some(mut garage) = Garage::start() else { return };
    let bytes = noise(SIZE);
    let store = garage.store(0, "p");
    write(&store, "before", &bytes).unwrap();
    let mut upload = store.upload("during", WriteOptions::default()).unwrap();
    upload.write_all(&bytes[..20 << 20]).unwrap();
    garage.kill(2);
    upload.write_all(&bytes[20 << 20..]).unwrap();
    assert_eq!(keys(&store), ["before"], "what is half uploaded is not listed");
    upload.finish().unwrap();
    store.put("small", &b"x"[..], &WriteOptions::default()).unwrap();
    assert!(all(&garage.store(1, "p"), "during") == bytes);
    garage.restart(2);
    let late = garage.store(2, "p");
    assert!(all(&late, "during") == bytes && all(&late, "before") == bytes);
    assert_eq!(keys(&late), ["before", "during", "small"]);

    // Another, in the middle of reading.
    let mut reader = store.get("before", None).unwrap();
    let mut back = vec![0; 3 << 20];
    reader.read_exact(&mut back).unwrap();
    garage.kill(1);
    reader.read_to_end(&mut back).unwrap();
    assert!(back == bytes);
    store.delete(&["before".to_owned()]).unwrap();
    garage.restart(1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let file = std::fs::File::create(&path).unwrap();
    let killed = AtomicBool::new(false);
    let cluster = std::sync::Mutex::new(&mut garage);
    let progress = |_| {
        if !killed.swap(true, Ordering::SeqCst) {
            cluster.lock().unwrap().kill(2);
        }
    };
    let mut options = DownloadOptions::default();
    options.progress = Some(&progress);
    store.download("during", &file, &path, options).unwrap();
    assert!(std::fs::read(&path).unwrap() == bytes);
    assert!(killed.load(Ordering::SeqCst));
    // A listing of Garage may still show what was removed while a node was away, until that has caught up; asking for it does not.
    assert!(matches!(store.head("before"), Err(CloudError::NotFound { .. })));
}

#[test]
fn a_node_that_is_cut_off_delays_and_takes_nothing() {
    let Some(garage) = Garage::start() else { return };
    let bytes = noise(SIZE);
    let store = garage.store(0, "p");
    store.put("before", bytes.clone(), &WriteOptions::default()).unwrap();
    let mut upload = store.upload("during", WriteOptions::default()).unwrap();
    upload.write_all(&bytes[..20 << 20]).unwrap();
    garage.cut_off(2);
    upload.write_all(&bytes[20 << 20..]).unwrap();
    upload.finish().unwrap();
    assert!(all(&store, "before") == bytes);
    assert_eq!(keys(&garage.store(1, "p")), ["before", "during"]);
    store.delete(&["before".to_owned()]).unwrap();
    // Through it, nothing comes, and that is no answer to whether something is there.
    let mut options = garage.options(2);
    options.retries.count = 1;
    options.retries.read_timeout = Duration::from_millis(500);
    let cut = Store::open(&garage.url("p"), options, &garage.environment()).unwrap();
    let error = cut.head("during").unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    garage.reconnect(2);
    assert!(all(&garage.store(2, "p"), "during") == bytes);
    assert_eq!(keys(&garage.store(2, "p")), ["during"]);
}

/// The node that one talks to is gone: what it said is done is on the others, what it did not is not listed.
#[test]
fn what_was_not_acknowledged_is_not_there_and_the_rest_is() {
    let Some(mut garage) = Garage::start() else { return };
    let bytes = noise(SIZE);
    let mut options = garage.options(1);
    options.retries.count = 1;
    options.retries.patience = Duration::from_millis(500);
    let store = Store::open(&garage.url("p"), options, &garage.environment()).unwrap();
    store.put("acknowledged", bytes[..3 << 20].to_vec(), &WriteOptions::default()).unwrap();
    let mut upload = store.upload("half", WriteOptions::default()).unwrap();
    upload.write_all(&bytes[..20 << 20]).unwrap();
    let mut reader = store.get("acknowledged", None).unwrap();
    garage.kill(1);
    let failed =
        upload.write_all(&bytes[20 << 20..]).map_err(|_| ()).and_then(|()| upload.finish().map_err(|_| ()));
    assert!(failed.is_err());
    // What is on its way already may still arrive; less than all is an error.
    let mut back = Vec::new();
    if reader.read_to_end(&mut back).is_ok() {
        assert!(back == bytes[..3 << 20]);
    }
    assert!(store.put("never", &b"x"[..], &WriteOptions::default()).unwrap_err().is_unreachable());
    let other = garage.store(0, "p");
    assert_eq!(keys(&other), ["acknowledged"]);
    assert!(all(&other, "acknowledged") == bytes[..3 << 20]);
    write(&other, "half", &bytes).unwrap();
    assert!(all(&other, "half") == bytes);
}

/// The requests go through somebody who changes a byte of some of them.
fn through(address: SocketAddr, changes: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        let mut text = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", request.method, request.target);
        for (name, value) in request.headers.iter().filter(|(name, _)| name != "connection") {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&request.body);
        if changes(request) {
            *bytes.last_mut().unwrap() ^= 1;
        }
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Reply::raw(answer)
    })
}

#[test]
fn a_part_that_changed_on_its_way_is_refused_and_sent_again() {
    let Some(garage) = Garage::start() else { return };
    let bytes = noise(20 << 20);
    let open = |server: &Server| {
        let mut options = server.options();
        options.retries.patience = Duration::from_secs(5);
        Store::open(&garage.url("p"), options, &garage.environment()).unwrap()
    };
    let count = AtomicUsize::new(0);
    let server = through(garage.address(0), move |request| {
        let is_part = request.target.contains("partNumber=2") || request.target.ends_with("small");
        is_part && request.method == "PUT" && count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
    });
    write(&open(&server), "large", &bytes).unwrap();
    open(&server).put("small", &b"small"[..], &WriteOptions::default()).unwrap();
    let direct = garage.store(1, "p");
    assert!(all(&direct, "large") == bytes && all(&direct, "small") == b"small");
    let tries =
        |what| server.requests().iter().filter(|r| r.method == "PUT" && r.target.contains(what)).count();
    assert_eq!((tries("partNumber=1"), tries("partNumber=2"), tries("small")), (1, 2, 2));

    let server = through(garage.address(0), |request| request.method == "PUT");
    for error in [
        write(&open(&server), "changed", &bytes).unwrap_err(),
        open(&server).put("changed", &b"x"[..], &WriteOptions::default()).unwrap_err(),
    ] {
        assert!(error.is_unreachable(), "{error}");
    }
    assert_eq!(keys(&direct), ["large", "small"]);
}

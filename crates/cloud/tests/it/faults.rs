//! What happens on the way to a store, with the client of each provider.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tapster_cloud::testing::{Fate, Proxy};
use tapster_cloud::{CloudError, Environment, PutMode, Retries, Store, StoreOptions, WriteOptions};

use crate::noise;

fn retries(count: usize) -> Retries {
    let mut retries = Retries::default();
    retries.count = count;
    retries.patience = Duration::from_secs(20);
    retries.read_timeout = Duration::from_secs(20);
    retries
}

fn open(url: &str, endpoint: Option<String>, variables: Vec<(&'static str, String)>, count: usize) -> Store {
    let mut options = StoreOptions::default();
    (options.endpoint, options.retries) = (endpoint, retries(count));
    let environment: Environment = variables.into_iter().collect();
    Store::open(&url.parse().unwrap(), options, &environment).unwrap()
}

#[test]
fn the_way_to_s3_loses_nothing_and_makes_nothing_up() {
    let Some(moto) = crate::moto::MOTO.as_ref() else { return };
    let at = |address: SocketAddr, count: usize| {
        open("s3://bucket/faults", Some(format!("http://{address}")), moto.variables(), count)
    };
    on_the_way(moto.address(), &at);
}

#[test]
fn the_way_to_azure_loses_nothing_and_makes_nothing_up() {
    let Some(azurite) = crate::azurite::AZURITE.as_ref() else { return };
    // Where it listens is in the URL.
    let here = azurite.address().to_string();
    let url = azurite.url("faults").to_string();
    let at = |address: SocketAddr, count: usize| {
        let there = address.to_string();
        let variables = azurite.variables().into_iter();
        let variables = variables.map(|(name, value)| (name, value.replace(&here, &there)));
        open(&url.replace(&here, &there), None, variables.collect(), count)
    };
    on_the_way(azurite.address(), &at);
}

#[test]
fn the_way_to_google_loses_nothing_and_makes_nothing_up() {
    let Some(google) = crate::google::GOOGLE.as_ref() else { return };
    let at = |address: SocketAddr, count: usize| {
        open("gs://bucket/faults", None, vec![("STORAGE_EMULATOR_HOST", format!("http://{address}"))], count)
    };
    on_the_way(google.address(), &at);
}

fn all(store: &Store, key: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut reader = store.get(key, None).map_err(|error| error.to_string())?;
    reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn write(store: &Store, key: &str, bytes: &[u8], mode: PutMode) -> Result<u64, CloudError> {
    let mut options = WriteOptions::default();
    options.mode = mode;
    let mut upload = store.upload(key, options)?;
    // An error of writing says what one of finishing would.
    let _ = upload.write_all(bytes);
    upload.finish()
}

/// What makes an object of its parts.
fn is_end(method: &str, path: &str) -> bool {
    (method == "POST" && path.contains("uploadId=")) || (method == "PUT" && path.contains("comp=blocklist"))
}

fn is_part(method: &str, path: &str) -> bool {
    method == "PUT" && (path.contains("partNumber=2") || path.contains("comp=block&"))
}

type Judge = Box<dyn FnMut(&str, &str) -> Fate + Send>;

fn on_the_way(address: SocketAddr, at: &dyn Fn(SocketAddr, usize) -> Store) {
    let direct = at(address, 4);
    // Two parts.
    let bytes = noise(9 << 20);
    let through = |judge: Judge| at(Proxy::start(address, judge).address(), 4);
    let once = |fate: Fate, is_it: fn(&str, &str) -> bool| {
        let mut left = true;
        through(Box::new(move |method, path| {
            let now = left && is_it(method, path);
            left &= !now;
            if now { fate } else { Fate::Pass }
        }))
    };

    // A storm that passes: every other request is refused.
    let mut count = 0;
    let store = through(Box::new(move |_, _| {
        count += 1;
        if count % 2 == 1 { Fate::Status(503) } else { Fate::Pass }
    }));
    write(&store, "storm", &bytes, PutMode::Replace).unwrap();
    assert!(all(&store, "storm").unwrap() == bytes && all(&direct, "storm").unwrap() == bytes);
    assert_eq!(store.list("").count(), 1);

    // Answers that are cut go on where they broke; with none of an object's bytes they are errors.
    let store = once(Fate::Cut(3 << 20), |method, path| method == "GET" && path.contains("storm"));
    assert!(all(&store, "storm").unwrap() == bytes);
    let store =
        through(Box::new(
            |method, path| {
                if method == "GET" && path.contains("storm") { Fate::Cut(0) } else { Fate::Pass }
            },
        ));
    let cut = all(&store, "storm");
    assert!(cut.is_err(), "{} bytes", cut.unwrap().len());

    // A connection breaks, or an answer is lost, in the middle of an upload and at its end.
    for (key, fate, is_it) in [
        ("broken", Fate::Close, is_part as fn(&str, &str) -> bool),
        ("lost", Fate::Mute, is_part),
        ("end broken", Fate::Close, is_end),
        ("end lost", Fate::Mute, is_end),
    ] {
        write(&once(fate, is_it), key, &bytes, PutMode::Replace).unwrap();
        assert!(all(&direct, key).unwrap() == bytes, "{key}");
        let new = format!("{key}, new");
        // Whose object it is that is there, the writer of a new one has to look.
        match write(&once(fate, is_it), &new, &bytes, PutMode::Create) {
            Ok(_) | Err(CloudError::Exists { .. }) => {}
            Err(error) => panic!("{new}: {error}"),
        }
        assert!(all(&direct, &new).unwrap() == bytes, "{new}");
    }

    // A storm that does not pass.
    let store = at(Proxy::start(address, |_, _| Fate::Status(503)).address(), 1);
    for error in [
        store.head("storm").unwrap_err(),
        store.get("storm", None).unwrap_err(),
        store.put("storm", &b"x"[..], &WriteOptions::default()).unwrap_err(),
        store.delete(&["storm".to_owned()]).unwrap_err(),
        store.list("").next().unwrap().unwrap_err(),
        store.bucket_exists().unwrap_err(),
    ] {
        assert!(error.is_unreachable(), "{error}");
    }
    assert!(all(&direct, "storm").unwrap() == bytes);
}

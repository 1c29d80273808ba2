//! The same for Azure and Google.

use tapster_cloud::{
    AzureCredential, CloudError, Encryption, Environment, PutMode, Store, StoreOptions, WriteOptions,
};

use crate::hostile::{Reply, Request, Server, answer};
use crate::noise;

/// The account's key of the emulators, which is public.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A store of both, their token services, and the identity of a machine.
fn everything(request: &Request) -> Reply {
    let token = r#"{"access_token":"MACHINE","expires_in":3600,"expires_on":"4070908800","token_type":"Bearer","resource":"r"}"#;
    match (request.method.as_str(), request.target.as_str()) {
        ("GET", target) if target.starts_with("/identity") => answer(200, &[], token),
        ("POST", target) if target.contains("/oauth2/") => {
            answer(200, &[], token.replace("MACHINE", "SERVICE"))
        }
        ("POST", target) if target.contains("uploads") => answer(
            200,
            &[],
            "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>",
        ),
        ("POST", target) if target.contains("uploadId") => answer(
            200,
            &[],
            "<CompleteMultipartUploadResult><ETag>\"p\"</ETag></CompleteMultipartUploadResult>",
        ),
        ("PUT", _) => answer(201, &["ETag: \"a\"", "x-ms-request-id: 1"], ""),
        ("HEAD", target) if target.ends_with("new") => {
            answer(404, &["x-ms-error-code: BlobNotFound", "x-ms-request-id: 1"], "")
        }
        _ => answer(200, &["ETag: \"a\"", "x-ms-request-id: 1"], ""),
    }
}

fn azure(server: &Server, variables: &[(&str, &str)], options: StoreOptions) -> Result<Store, CloudError> {
    let url = format!("http://{}/acct/box/p", server.address).parse().unwrap();
    Store::open(&url, options, &variables.iter().copied().collect::<Environment>())
}

fn options(server: &Server) -> StoreOptions {
    let mut options = server.options();
    options.endpoint = None;
    options
}

fn last(server: &Server) -> Request {
    server.requests().pop().unwrap()
}

#[test]
fn azure_is_told_who_one_is_as_the_environment_says() {
    let server = Server::start(everything);
    let authorization = |variables: &[(&str, &str)], credential| {
        let mut options = options(&server);
        options.azure_credential = credential;
        azure(&server, variables, options).unwrap().head("key").unwrap();
        let last = last(&server);
        (last.header("authorization").unwrap_or_default().to_owned(), last.target)
    };
    let default = AzureCredential::Default;
    let (signed, target) = authorization(&[("AZURE_STORAGE_KEY", KEY)], default);
    assert!(signed.starts_with("SharedKey acct:"), "{signed}");
    assert_eq!(target, "/acct/box/p/key");
    let sas = ("AZURE_STORAGE_SAS_TOKEN", "?sv=2024&sig=abc%3D");
    let (signed, target) = authorization(&[sas, ("AZURE_STORAGE_KEY", KEY)], default);
    assert_eq!((signed.as_str(), target.as_str()), ("", "/acct/box/p/key?sv=2024&sig=abc%3D"));
    let string = format!(
        "DefaultEndpointsProtocol=http;AccountName=other;AccountKey={KEY};BlobEndpoint=http://x/other"
    );
    let (signed, _) = authorization(&[("AZURE_STORAGE_CONNECTION_STRING", &string), sas], default);
    assert!(signed.starts_with("SharedKey other:"), "{signed}");
    let identity = format!("http://{}/identity", server.address);
    let identity = ("IDENTITY_ENDPOINT", identity.as_str());
    assert_eq!(authorization(&[identity], default).0, "Bearer MACHINE");
    let managed = AzureCredential::ManagedIdentity;
    assert_eq!(authorization(&[identity, ("AZURE_STORAGE_KEY", KEY)], managed).0, "Bearer MACHINE");
    let bad = azure(&server, &[("AZURE_STORAGE_KEY", "not base64!")], options(&server));
    assert!(matches!(bad, Err(CloudError::Options { .. })));
}

#[test]
fn azure_writes_within_a_scope_and_only_what_is_new() {
    let server = Server::start(everything);
    let mut options = options(&server);
    options.encryption = Some(Encryption::Scope("mine".to_owned()));
    let store = azure(&server, &[("AZURE_STORAGE_KEY", KEY)], options.clone()).unwrap();
    let mut create = WriteOptions::default();
    create.mode = PutMode::Create;
    create.tags = vec![("team".to_owned(), "a b".to_owned())];
    store.put("small", &b"x"[..], &create).unwrap();
    let put = last(&server);
    assert_eq!(put.header("x-ms-encryption-scope"), Some("mine"));
    assert_eq!(put.header("if-none-match"), Some("*"));
    assert_eq!(put.header("x-ms-tags"), Some("team=a+b"));
    assert_eq!(put.headers.iter().filter(|(name, _)| name == "authorization").count(), 1);
    let mut upload = store.upload("new", create).unwrap();
    std::io::Write::write_all(&mut upload, &noise(9 << 20)).unwrap();
    upload.finish().unwrap();
    let requests = server.requests();
    let writes: Vec<&Request> =
        requests.iter().filter(|request| request.target.contains("comp=block")).collect();
    assert!(
        writes.len() >= 3
            && writes.iter().all(|request| request.header("x-ms-encryption-scope") == Some("mine"))
    );
    let end = writes.iter().find(|request| request.target.contains("comp=blocklist")).unwrap();
    assert_eq!(end.header("if-none-match"), Some("*"));
    store.create_bucket().unwrap();
    assert_eq!(
        (last(&server).method.as_str(), last(&server).target.as_str()),
        ("PUT", "/acct/box?restype=container")
    );
    options.encryption = Some(Encryption::S3Managed);
    assert!(matches!(azure(&server, &[], options), Err(CloudError::Options { .. })));
}

#[test]
fn google_is_told_the_key_and_takes_tags_for_metadata() {
    let server = Server::start(everything);
    let host = server.address.to_string();
    let open = |variables: &[(&str, &str)], options: StoreOptions| {
        let environment: Environment = variables.iter().copied().collect();
        Store::open(&"gs://bucket/p".parse().unwrap(), options, &environment)
    };
    let mut options = options(&server);
    options.encryption =
        Some(Encryption::GoogleKms("projects/p/locations/l/keyRings/r/cryptoKeys/k".to_owned()));
    let emulator = ("STORAGE_EMULATOR_HOST", host.as_str());
    let store = open(&[emulator, ("GOOGLE_CLOUD_PROJECT", "proj")], options.clone()).unwrap();
    let mut write = WriteOptions::default();
    write.tags = vec![("team".to_owned(), "a b".to_owned())];
    store.put("small", &b"x"[..], &write).unwrap();
    let put = last(&server);
    assert_eq!(put.target, "/bucket/p%2Fsmall");
    let key = Some("projects/p/locations/l/keyRings/r/cryptoKeys/k");
    assert_eq!(put.header("x-goog-encryption-kms-key-name"), key);
    assert_eq!(put.header("x-goog-meta-team"), Some("a b"));
    let mut upload = store.upload("large", write).unwrap();
    std::io::Write::write_all(&mut upload, &noise(9 << 20)).unwrap();
    upload.finish().unwrap();
    let requests = server.requests();
    let begin = requests.iter().find(|request| request.target.contains("uploads")).unwrap();
    assert_eq!(begin.header("x-goog-encryption-kms-key-name"), key);
    assert_eq!(begin.header("x-goog-meta-team"), Some("a b"));
    store.create_bucket().unwrap();
    assert_eq!(last(&server).target, "/storage/v1/b?project=proj");
    assert_eq!(last(&server).body, br#"{"name":"bucket"}"#);
    let nobodys = open(&[emulator], options.clone()).unwrap().create_bucket().unwrap_err();
    assert!(nobodys.to_string().contains("GOOGLE_CLOUD_PROJECT"), "{nobodys}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("adc.json");
    for (text, words) in [
        (
            r#"{"type": "external_account", "audience": "x"}"#,
            "of the type external_account, which is not supported",
        ),
        ("{", "are no JSON"),
        (r#"{"type": "service_account", "client_email": "a@b"}"#, "private_key"),
    ] {
        std::fs::write(&file, text).unwrap();
        let variables = [("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())];
        let error = open(&variables, options.clone()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let gone = open(&[("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")], options).unwrap_err();
    assert!(gone.to_string().contains("/nonexistent"), "{gone}");
}

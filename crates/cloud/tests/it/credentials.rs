//! Who the store sees, for every way to say who one is.

use std::path::Path;

use tapster_cloud::{Addressing, CloudError, Encryption, Environment, Store, StoreOptions, WriteOptions};

use crate::hostile::{Reply, Request, Server, answer};

/// A store, the token service of roles, and the identity of a machine, all in one.
fn everything(request: &Request) -> Reply {
    let body = String::from_utf8_lossy(&request.body);
    match (request.method.as_str(), request.target.as_str()) {
        ("POST", "/") if body.contains("Action=AssumeRole") => {
            let kind = if body.contains("WithWebIdentity") { "WEB" } else { "ROLE" };
            let credentials = format!(
                "<R><Credentials><AccessKeyId>{kind}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                 <SessionToken>t/{kind}</SessionToken></Credentials></R>"
            );
            answer(200, &[], credentials)
        }
        ("PUT", "/latest/api/token") => answer(200, &[], "token"),
        ("GET", "/latest/meta-data/iam/security-credentials/") => answer(200, &[], "role"),
        ("GET", "/latest/meta-data/iam/security-credentials/role" | "/pod") => {
            let kind = if request.target == "/pod" { "POD" } else { "MACHINE" };
            let credentials = format!(
                r#"{{"AccessKeyId":"{kind}","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z","Code":"Success"}}"#
            );
            answer(200, &[], credentials)
        }
        _ => answer(200, &["ETag: \"a\""], ""),
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

struct Case {
    server: Server,
    directory: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let aws = directory.path().join(".aws");
        std::fs::create_dir(&aws).unwrap();
        let token = directory.path().join("token");
        write(&token, "a.b.c\n");
        write(
            &aws.join("config"),
            &format!(
                "[default]\nregion = eu-west-9\n\
                 [profile process]\ncredential_process = /bin/sh -c 'echo {{\\\"AccessKeyId\\\": \\\"PROCESS\\\", \\\"SecretAccessKey\\\": \\\"s\\\"}}'\n\
                 [profile broken]\ncredential_process = /bin/false\n\
                 [profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = named\nexternal_id = x y\n\
                 [profile deeper]\nrole_arn = arn:aws:iam::1:role/d\nsource_profile = role\n\
                 [profile loop]\nrole_arn = arn:aws:iam::1:role/l\nsource_profile = loop2\n\
                 [profile loop2]\nrole_arn = arn:aws:iam::1:role/l2\nsource_profile = loop\n\
                 [profile environment]\nrole_arn = arn:aws:iam::1:role/e\ncredential_source = Environment\n\
                 [profile web]\nrole_arn = arn:aws:iam::1:role/w\nweb_identity_token_file = {}\n\
                 [profile sso]\nsso_session = s\n",
                token.display()
            ),
        );
        write(
            &aws.join("credentials"),
            "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n\
             [named]\naws_access_key_id = NAMED\naws_secret_access_key = s\naws_session_token = tok\n",
        );
        Self { server: Server::start(everything), directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn open(&self, variables: &[(&str, &str)], options: StoreOptions) -> Result<Store, CloudError> {
        let mut all = vec![
            ("HOME".to_owned(), self.path("")),
            ("AWS_ENDPOINT_URL".to_owned(), format!("http://{}/", self.server.address)),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), format!("http://{}/", self.server.address)),
        ];
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let environment: Environment = all.into_iter().collect();
        Store::open(&"s3://bucket/p".parse().unwrap(), options, &environment)
    }

    fn options(&self, profile: Option<&str>) -> StoreOptions {
        let mut options = self.server.options();
        options.endpoint = None;
        options.profile = profile.map(str::to_owned);
        options
    }

    /// The last request that reached the store.
    fn last(&self) -> Request {
        self.server.requests().pop().unwrap()
    }

    /// The key that requests are signed with, and the region.
    fn signer(&self, variables: &[(&str, &str)], profile: Option<&str>) -> (String, String) {
        self.open(variables, self.options(profile)).unwrap().head("key").unwrap();
        let last = self.last();
        let scope = last.header("authorization").unwrap().split_once("Credential=").unwrap().1.to_owned();
        let mut parts = scope.split('/');
        (parts.next().unwrap().to_owned(), parts.nth(1).unwrap().to_owned())
    }

    fn refused(&self, variables: &[(&str, &str)], profile: &str) -> String {
        match self.open(variables, self.options(Some(profile))).and_then(|store| store.head("key")) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{profile} is taken"),
        }
    }
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "s")];

#[test]
fn credentials_are_looked_for_where_the_python_tools_do_and_in_their_order() {
    let case = Case::new();
    // The environment is before the profile of the environment, and behind that of the command line.
    assert_eq!(case.signer(&KEYS, None).0, "ENV");
    let with_profile = [KEYS[0], KEYS[1], ("AWS_PROFILE", "named")];
    assert_eq!(case.signer(&with_profile, None).0, "ENV");
    assert_eq!(case.signer(&KEYS, Some("named")).0, "NAMED");
    assert_eq!(case.last().header("x-amz-security-token"), Some("tok"));
    assert_eq!(case.signer(&[("AWS_PROFILE", "named")], None).0, "NAMED");
    assert_eq!(case.signer(&[("AWS_DEFAULT_PROFILE", "named")], None).0, "NAMED");
    assert_eq!(case.signer(&[], None), ("DEFAULT".to_owned(), "eu-west-9".to_owned()));
    let region = [("AWS_REGION", "no"), ("AWS_DEFAULT_REGION", "ap-south-1")];
    assert_eq!(case.signer(&region, None).1, "ap-south-1");
    assert_eq!(case.signer(&[], Some("process")).0, "PROCESS");
    assert_eq!(case.signer(&[], Some("role")).0, "ROLE");
    assert_eq!(case.last().header("x-amz-security-token"), Some("t/ROLE"));
    let asked = case.server.requests().into_iter().rfind(|request| request.method == "POST").unwrap();
    assert!(String::from_utf8_lossy(&asked.body).contains("ExternalId=x%20y"));
    assert!(asked.header("authorization").unwrap().contains("Credential=NAMED/"));
    assert_eq!(case.signer(&[], Some("deeper")).0, "ROLE");
    let asked = case.server.requests().into_iter().rfind(|request| request.method == "POST").unwrap();
    assert!(asked.header("authorization").unwrap().contains("Credential=ROLE/"));
    assert_eq!(case.signer(&KEYS, Some("environment")).0, "ROLE");
    assert_eq!(case.signer(&[], Some("web")).0, "WEB");
    let token = case.path("token");
    let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/w")];
    assert_eq!(case.signer(&web, None).0, "WEB");
    let asked = case.server.requests().into_iter().rfind(|request| request.method == "POST").unwrap();
    assert!(asked.header("authorization").is_none());
    assert!(String::from_utf8_lossy(&asked.body).ends_with("WebIdentityToken=a.b.c"));

    let nowhere = [("HOME", "/nonexistent")];
    assert_eq!(case.signer(&nowhere, None).0, "MACHINE");
    let pod = format!("http://{}/pod", case.server.address);
    let container = [
        nowhere[0],
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", pod.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.as_str()),
    ];
    assert_eq!(case.signer(&container, None).0, "POD");
}

#[test]
fn credentials_that_cannot_be_used_are_refused_with_a_reason() {
    let case = Case::new();
    assert!(case.refused(&[], "none").contains("there is no profile none"));
    assert!(case.refused(&[], "sso").contains("SSO"));
    assert!(case.refused(&[], "loop").contains("without end"));
    assert!(case.refused(&[], "broken").contains("/bin/false failed"));
    assert!(case.refused(&[], "environment").contains("AWS_ACCESS_KEY_ID is not set"));
    let half = case.open(&[KEYS[0]], case.options(None)).unwrap_err();
    assert!(half.to_string().contains("AWS_SECRET_ACCESS_KEY is not"), "{half}");
    let off = [("HOME", "/nonexistent"), ("AWS_EC2_METADATA_DISABLED", "true")];
    let none = case.open(&off, case.options(None)).unwrap_err();
    assert!(none.to_string().contains("no credentials"), "{none}");
    let nobody = [("HOME", "/nonexistent"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")];
    let nobody = case.open(&nobody, case.options(None)).unwrap().head("key").unwrap_err();
    assert!(
        nobody.to_string().contains("no credentials, neither configured nor of this machine"),
        "{nobody}"
    );
    let bundle = case.open(&[KEYS[0], KEYS[1], ("AWS_CA_BUNDLE", "/nonexistent")], case.options(None));
    assert!(bundle.unwrap_err().to_string().contains("/nonexistent"));
}

#[test]
fn requests_go_where_the_options_say_with_what_they_say() {
    let case = Case::new();
    let mut options = case.options(None);
    options.storage_class = Some("STANDARD_IA".to_owned());
    options.encryption = Some(Encryption::Kms { key: Some("alias/backup".to_owned()) });
    case.open(&KEYS, options).unwrap().put("a/b", &b"x"[..], &WriteOptions::default()).unwrap();
    let put = case.last();
    assert_eq!(put.target, "/bucket/p/a/b");
    assert_eq!(put.header("x-amz-storage-class"), Some("STANDARD_IA"));
    assert_eq!(put.header("x-amz-server-side-encryption"), Some("aws:kms"));
    assert_eq!(put.header("x-amz-server-side-encryption-aws-kms-key-id"), Some("alias/backup"));
    assert_eq!(put.header("x-amz-content-sha256").map(str::len), Some(64), "its body is signed");

    // A proxy sees the whole URL; names are the proxy's to find.
    let proxy = format!("http://{}", case.server.address);
    let mut options = case.options(None);
    options.endpoint = Some("http://store.invalid".to_owned());
    options.addressing = Addressing::Virtual;
    let through = [KEYS[0], KEYS[1], ("http_proxy", proxy.as_str())];
    case.open(&through, options.clone()).unwrap().head("key").unwrap();
    assert_eq!(case.last().target, "http://bucket.store.invalid/p/key");
    options.addressing = Addressing::Auto;
    case.open(&through, options.clone()).unwrap().head("key").unwrap();
    assert_eq!(case.last().target, "http://store.invalid/bucket/p/key");
    let except = [through[0], through[1], through[2], ("no_proxy", "store.invalid")];
    assert!(case.open(&except, options.clone()).unwrap().head("key").unwrap_err().is_unreachable());
    options.endpoint = Some("store.invalid:9000".to_owned());
    assert!(matches!(case.open(&KEYS, options), Err(CloudError::Options { .. })));
}

/// As `boto3` does: without a region, requests go to where the store says that the bucket is.
#[test]
fn a_bucket_of_another_region_is_found_when_none_is_configured() {
    let server = Server::start(|request| {
        let headers = ["x-amz-bucket-region: ap-south-1", "x-amz-request-id: 1", "ETag: \"a\""];
        if request.header("authorization").is_some_and(|text| text.contains("/ap-south-1/s3/")) {
            return answer(200, &headers, "");
        }
        let body = if request.method == "HEAD" {
            ""
        } else {
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>expecting ap-south-1</Message></Error>"
        };
        answer(400, &headers, body)
    });
    let open = |variables: &[(&str, &str)]| {
        let environment: Environment = variables.iter().copied().collect();
        Store::open(&"s3://bucket/p".parse().unwrap(), server.options(), &environment).unwrap()
    };
    let store = open(&KEYS);
    store.head("key").unwrap();
    store.put("key", vec![7; 100_000], &WriteOptions::default()).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 3, "the second call knows it");
    assert_eq!(requests[2].header("x-amz-content-sha256").map(str::len), Some(64));
    assert_eq!(requests[2].headers.iter().filter(|(name, _)| name == "authorization").count(), 1);
    // Nobody who has said where it is is led elsewhere.
    let error = open(&[KEYS[0], KEYS[1], ("AWS_REGION", "eu-west-1")]).head("key").unwrap_err();
    assert!(error.to_string().contains("region ap-south-1"), "{error}");
}

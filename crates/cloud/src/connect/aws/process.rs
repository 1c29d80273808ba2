//! `credential_process`: a program that prints credentials.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

use super::fresh::{Fresh, no_credentials};

/// The shortest life of temporary credentials is fifteen minutes.
const KEPT: Duration = Duration::from_secs(600);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Process {
    words: Vec<String>,
    fresh: Fresh,
}

impl Process {
    pub(super) fn new(command: &str) -> Result<Self, String> {
        let words = shlex::split(command).filter(|words| !words.is_empty());
        let words = words.ok_or("credential_process is no command line")?;
        Ok(Self { words, fresh: Fresh::new(KEPT) })
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Process {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let words = self.words.clone();
        let get = async {
            let output = tokio::task::spawn_blocking(move || run(&words)).await;
            let output = output.map_err(no_credentials)?.map_err(no_credentials)?;
            parse(&output).map_err(|e| no_credentials(format!("credential_process: {e}")))
        };
        self.fresh.get(get).await
    }
}

fn run(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("credential_process is empty")?;
    let failed = |e: std::io::Error| format!("credential_process {program}: {e}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.map(|output| output.take(1 << 20).read_to_string(&mut text));
        text
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if start.elapsed() > LONGEST => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("credential_process {program} did not end within {LONGEST:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if !status.success() {
        return Err(format!("credential_process {program} failed: {status}"));
    }
    reader.join().map_err(|_| format!("credential_process {program}: its output cannot be read"))
}

/// Credentials as JSON. Programs call the token `SessionToken`, and servers `Token`.
pub(super) fn parse(output: &str) -> Result<AwsCredential, String> {
    let value: serde_json::Value = serde_json::from_str(output).map_err(|_| "what it says is no JSON")?;
    let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    Ok(AwsCredential {
        key_id: text("AccessKeyId").ok_or("there is no AccessKeyId in what it says")?,
        secret_key: text("SecretAccessKey").ok_or("there is no SecretAccessKey in what it says")?,
        token: text("SessionToken").or_else(|| text("Token")),
    })
}

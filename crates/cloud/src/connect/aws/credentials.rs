//! Who one is: the places where `boto3` looks, in its order.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};

use super::container::Container;
use super::process::Process;
use super::profile::{Profile, Profiles};
use super::role::{Proof, Role};
use crate::Environment;
use crate::wire::Connector;

/// No role is assumed through more profiles than these.
const DEEPEST: usize = 5;

/// What roles are asked of.
pub(super) struct Sts {
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) connector: Connector,
}

/// Environment, roles of the profile, web identity, keys of the profile, its program, then what the machine or container says.
pub(super) fn provider(
    profiles: &Profiles,
    is_chosen: bool,
    environment: &Environment,
    sts: &Sts,
    builder: &AmazonS3Builder,
) -> Result<AwsCredentialProvider, String> {
    // A profile of the command line comes before the environment, one of the environment's own does not.
    if !is_chosen && let Some(keys) = of_environment(environment)? {
        return Ok(keys);
    }
    let profile = profiles.current()?;
    if let Some(role) = of_profile_role(profiles, &profile, environment, sts, builder, 0)? {
        return Ok(role);
    }
    if let (Some(file), Some(arn)) =
        (environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"), environment.get("AWS_ROLE_ARN"))
    {
        let session = environment.get("AWS_ROLE_SESSION_NAME");
        return role(sts, arn, session, None, None, Proof::Token(PathBuf::from(file)));
    }
    if let Some(found) = of_profile(&profile)? {
        return Ok(found);
    }
    if profile.get("sso_session").or_else(|| profile.get("sso_start_url")).is_some() {
        let name = &profiles.name;
        return Err(format!(
            "the profile {name} signs in through SSO, which is not supported: export its keys \
             (aws configure export-credentials --profile {name}) or use credential_process"
        ));
    }
    of_machine(environment, sts, builder)
}

fn of_environment(environment: &Environment) -> Result<Option<AwsCredentialProvider>, String> {
    let Some(key_id) = environment.get("AWS_ACCESS_KEY_ID") else { return Ok(None) };
    let secret = environment.get("AWS_SECRET_ACCESS_KEY");
    let secret = secret.ok_or("AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not")?;
    let token = environment.get("AWS_SESSION_TOKEN").or_else(|| environment.get("AWS_SECURITY_TOKEN"));
    Ok(Some(keys(key_id, secret, token)))
}

/// Its keys, or its program.
fn of_profile(profile: &Profile) -> Result<Option<AwsCredentialProvider>, String> {
    match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
        (Some(key_id), Some(secret)) => Ok(Some(keys(key_id, secret, profile.get("aws_session_token")))),
        (Some(_), None) => Err("the profile has aws_access_key_id, and no aws_secret_access_key".to_owned()),
        (None, _) => match profile.get("credential_process") {
            Some(command) => Ok(Some(Arc::new(Process::new(command)?))),
            None => Ok(None),
        },
    }
}

fn of_profile_role(
    profiles: &Profiles,
    profile: &Profile,
    environment: &Environment,
    sts: &Sts,
    builder: &AmazonS3Builder,
    depth: usize,
) -> Result<Option<AwsCredentialProvider>, String> {
    let Some(arn) = profile.get("role_arn") else { return Ok(None) };
    let proof = if let Some(file) = profile.get("web_identity_token_file") {
        Proof::Token(PathBuf::from(file))
    } else if let Some(source) = profile.get("source_profile") {
        if depth >= DEEPEST {
            return Err("profiles name each other as source_profile without end".to_owned());
        }
        let of = profiles
            .profile(source)
            .ok_or_else(|| format!("there is no profile {source} (source_profile)"))?;
        // A profile may be its own source: then its keys are meant.
        let deeper = if of == profile {
            None
        } else {
            of_profile_role(profiles, of, environment, sts, builder, depth + 1)?
        };
        let keys = match deeper {
            Some(keys) => keys,
            None => {
                of_profile(of)?.ok_or_else(|| format!("the profile {source} (source_profile) has no keys"))?
            }
        };
        Proof::Keys(keys)
    } else {
        match profile.get("credential_source") {
            Some("Environment") => Proof::Keys(
                of_environment(environment)?
                    .ok_or("credential_source = Environment, and AWS_ACCESS_KEY_ID is not set")?,
            ),
            Some("Ec2InstanceMetadata" | "EcsContainer") => Proof::Keys(of_machine(environment, sts, builder)?),
            Some(other) => return Err(format!("credential_source = {other} is not known")),
            None => return Err("the profile has role_arn, and neither source_profile, credential_source nor web_identity_token_file".to_owned()),
        }
    };
    if profile.get("mfa_serial").is_some() {
        return Err(
            "the profile's role asks for a second factor (mfa_serial), which nobody here can type".to_owned()
        );
    }
    let session = profile.get("role_session_name");
    role(sts, arn, session, profile.get("external_id"), profile.get("duration_seconds"), proof).map(Some)
}

fn role(
    sts: &Sts,
    arn: &str,
    session: Option<&str>,
    external_id: Option<&str>,
    seconds: Option<&str>,
    proof: Proof,
) -> Result<AwsCredentialProvider, String> {
    let seconds = seconds.map_or(Ok(3600), str::parse).map_err(|_| "duration_seconds is no number")?;
    Ok(Arc::new(Role::new(sts, arn, session.unwrap_or("tapster"), external_id, seconds, proof)?))
}

/// The container's, or else the virtual machine's.
fn of_machine(
    environment: &Environment,
    sts: &Sts,
    builder: &AmazonS3Builder,
) -> Result<AwsCredentialProvider, String> {
    if let Some(container) = Container::new(environment, &sts.connector)? {
        return Ok(Arc::new(container));
    }
    let is_off = environment.get("AWS_EC2_METADATA_DISABLED");
    if is_off.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err("there are no credentials, neither in the environment nor in ~/.aws".to_owned());
    }
    let mut builder = builder.clone().with_imdsv1_fallback();
    if let Some(url) = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        builder = builder.with_metadata_endpoint(url.trim_end_matches('/'));
    }
    Ok(Arc::clone(builder.build().map_err(|e| e.to_string())?.credentials()))
}

fn keys(key_id: &str, secret_key: &str, token: Option<&str>) -> AwsCredentialProvider {
    Arc::new(StaticCredentialProvider::new(AwsCredential {
        key_id: key_id.to_owned(),
        secret_key: secret_key.to_owned(),
        token: token.map(str::to_owned),
    }))
}

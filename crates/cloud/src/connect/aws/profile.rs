//! The files that Amazon's tools share: `~/.aws/config` and `~/.aws/credentials`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use crate::Environment;

/// No file of credentials is larger, in bytes.
const LARGEST: u64 = 1 << 20;

/// The settings of one profile. Those of a nested section are called `s3.addressing_style`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Profile(BTreeMap<String, String>);

impl Profile {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// All profiles of both files.
pub(super) struct Profiles {
    profiles: BTreeMap<String, Profile>,
    services: BTreeMap<String, Profile>,
    /// The one that is asked for, and whether it was by name.
    pub(super) name: String,
    pub(super) is_named: bool,
}

impl Profiles {
    /// Of the files that the environment names, or else those at home. `chosen` is the profile of the command line.
    pub(super) fn read(environment: &Environment, chosen: Option<&str>) -> Result<Self, String> {
        let at = |variable: &str, name: &str| {
            let named = environment.get(variable).map(|path| expand(path, environment));
            named.or_else(|| Some(PathBuf::from(environment.get("HOME")?).join(".aws").join(name)))
        };
        let named = chosen.or_else(|| environment.get("AWS_DEFAULT_PROFILE"));
        let named = named.or_else(|| environment.get("AWS_PROFILE"));
        let mut profiles = Self {
            profiles: BTreeMap::new(),
            services: BTreeMap::new(),
            name: named.unwrap_or("default").to_owned(),
            is_named: named.is_some(),
        };
        // What both have is taken of the second.
        profiles.add(&load(at("AWS_CONFIG_FILE", "config"))?, true);
        profiles.add(&load(at("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?, false);
        Ok(profiles)
    }

    fn add(&mut self, text: &str, is_config: bool) {
        let mut ignored = Profile::default();
        let mut section = &mut ignored;
        let mut parent: Option<String> = None;
        for line in text.lines() {
            let content = line.trim();
            if content.is_empty() || content.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                let words: Vec<&str> =
                    name.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
                parent = None;
                section = match words.as_slice() {
                    ["default"] => self.profiles.entry("default".to_owned()).or_default(),
                    ["profile", name] if is_config => self.profiles.entry((*name).to_owned()).or_default(),
                    ["services", name] if is_config => self.services.entry((*name).to_owned()).or_default(),
                    [name] if !is_config => self.profiles.entry((*name).to_owned()).or_default(),
                    _ => &mut ignored,
                };
                continue;
            }
            let Some((key, value)) = content.split_once('=') else { continue };
            let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
            let key = match &parent {
                Some(parent) if line.starts_with([' ', '\t']) => format!("{parent}.{key}"),
                _ => {
                    parent = value.is_empty().then(|| key.clone());
                    key
                }
            };
            section.0.insert(key, value);
        }
    }

    /// The profile of that name.
    pub(super) fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// The one that is asked for; empty when it is the default one and is not there.
    pub(super) fn current(&self) -> Result<Profile, String> {
        match self.profile(&self.name) {
            Some(profile) => Ok(profile.clone()),
            None if self.is_named => {
                Err(format!("there is no profile {} in the files of Amazon's tools", self.name))
            }
            None => Ok(Profile::default()),
        }
    }

    /// Where that service listens.
    pub(super) fn endpoint(&self, profile: &Profile, service: &str) -> Option<String> {
        let services = profile.get("services").and_then(|name| self.services.get(name));
        let own = services.and_then(|services| services.get(&format!("{service}.endpoint_url")));
        own.or_else(|| profile.get("endpoint_url")).map(str::to_owned)
    }
}

fn expand(path: &str, environment: &Environment) -> PathBuf {
    match (path.strip_prefix("~/"), environment.get("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn load(path: Option<PathBuf>) -> Result<String, String> {
    let Some(path) = path else { return Ok(String::new()) };
    let mut text = String::new();
    match std::fs::File::open(&path).and_then(|file| file.take(LARGEST).read_to_string(&mut text)) {
        Ok(_) => Ok(text),
        // As for the Python tools, one in a directory that may not be entered is none: PostgreSQL may have inherited root's HOME.
        Err(_) if !path.is_file() => Ok(String::new()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_there_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        drop(std::fs::File::create(&file).unwrap());
        for home in [file, directory.path().join("nowhere")] {
            let environment: Environment = [("HOME", home.to_str().unwrap())].into_iter().collect();
            assert!(Profiles::read(&environment, None).is_ok(), "{}", home.display());
        }
    }

    #[test]
    fn both_files_make_the_profiles() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config");
        let credentials = directory.path().join("credentials");
        #[allow(clippy::disallowed_methods)]
        std::fs::write(
            &config,
            "# comment\n[default]\nregion = eu-west-1\n[profile backup]\nregion=eu-west-3\ns3 =\n  addressing_style = path\n\
             services = minio\nrole_arn = x\n[services minio]\ns3 =\n  endpoint_url = http://minio:9000\n[broken\n=\n[]\nx = y\n",
        )
        .unwrap();
        #[allow(clippy::disallowed_methods)]
        std::fs::write(&credentials, "[backup]\naws_access_key_id = A\nAWS_SECRET_ACCESS_KEY = B=C\n")
            .unwrap();
        let environment: Environment = [
            ("AWS_CONFIG_FILE", config.to_str().unwrap()),
            ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap()),
            ("AWS_PROFILE", "backup"),
        ]
        .into_iter()
        .collect();
        let profiles = Profiles::read(&environment, None).unwrap();
        let profile = profiles.current().unwrap();
        assert_eq!(profile.get("aws_access_key_id"), Some("A"));
        assert_eq!(profile.get("aws_secret_access_key"), Some("B=C"));
        assert_eq!((profile.get("region"), profile.get("role_arn")), (Some("eu-west-3"), Some("x")));
        assert_eq!(profile.get("s3.addressing_style"), Some("path"));
        assert_eq!(profiles.endpoint(&profile, "s3").as_deref(), Some("http://minio:9000"));
        assert_eq!(profiles.endpoint(&profile, "sts"), None);
        let default = Profiles::read(&environment, Some("default")).unwrap().current().unwrap();
        assert_eq!((default.get("region"), default.get("aws_access_key_id")), (Some("eu-west-1"), None));
        assert!(Profiles::read(&environment, Some("none")).unwrap().current().is_err());
        let nothing = Profiles::read(&Environment::default(), None).unwrap();
        assert!(nothing.current().unwrap() == Profile::default());
    }
}

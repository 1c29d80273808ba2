//! What all cloud tools take.

use std::time::Duration;

use clap::ArgAction;
use tapster_cloud::{Addressing, AzureCredential, Provider, StoreOptions};
use tracing::level_filters::LevelFilter;

use super::sizes::size;
use crate::args::values::int;

const S3: &str = "Extra options for the aws-s3 cloud provider";
const AZURE: &str = "Extra options for the azure-blob-storage cloud provider";

/// Two parts of an upload, as small as S3 takes them.
const LEAST_MEMORY: usize = 10 << 20;

/// How the store is reached, and how much is told of it. There is no `-h` for help: `barman-cloud-backup` has it for the host.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CloudArgs {
    /// show the program's version and exit
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
    /// show this help message and exit
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    verbosity: Verbosity,
    /// only test whether the store can be reached and has the bucket
    #[arg(short, long)]
    pub(crate) test: bool,
    /// whose interface the store has; what the URL says unless given
    #[arg(long, value_enum)]
    cloud_provider: Option<ProviderName>,
    /// where a store other than Amazon's listens
    #[arg(long, help_heading = S3)]
    endpoint_url: Option<String>,
    /// section of the shared configuration files with the credentials
    #[arg(short = 'P', long, help_heading = S3)]
    aws_profile: Option<String>,
    /// the old name of --aws-profile
    #[arg(long, value_name = "AWS_PROFILE", help_heading = S3)]
    profile: Option<String>,
    /// seconds within which an answer, or the next bytes of one, must come (default: 60)
    #[arg(long, value_parser = int, allow_negative_numbers = true, help_heading = S3)]
    read_timeout: Option<i64>,
    /// where requests name the bucket: in the host name or in the path (default: auto, which is the host name at Amazon and the
    /// path at an --endpoint-url)
    #[arg(long, value_enum, help_heading = S3)]
    addressing_style: Option<AddressingStyle>,
    /// where credentials come from, unless the environment has them
    #[arg(long, visible_aliases = ["credential", "default"], value_enum, help_heading = AZURE)]
    azure_credential: Option<Credential>,
}

/// Of tools that bring much through this host.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct MemoryArgs {
    /// bytes on their way that are held in memory, at most (default: 64MB; at least 10MB)
    #[arg(long, value_name = "MEMORY_SIZE", value_parser = size, hide_short_help = true)]
    memory: Option<u64>,
}

impl MemoryArgs {
    /// Adds it to how the store is reached.
    pub(crate) fn within(self, mut options: StoreOptions) -> StoreOptions {
        let bytes = self.memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        options.memory = bytes.map_or(options.memory, |bytes| bytes.max(LEAST_MEMORY));
        options
    }
}

/// `-v` and `-q`.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "exclusive-verbosity", multiple = false)]
struct Verbosity {
    /// tell more; -vv still more
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// tell less: no warnings; with -qq no errors either
    #[arg(short, long, action = ArgAction::Count)]
    quiet: u8,
}

/// `--cloud-provider`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum ProviderName {
    /// Amazon S3, and every store that speaks like it.
    #[value(name = "aws-s3")]
    S3,
    /// Azure Blob Storage.
    #[value(name = "azure-blob-storage")]
    Azure,
    /// Google Cloud Storage.
    #[value(name = "google-cloud-storage")]
    Google,
}

/// `--addressing-style`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum AddressingStyle {
    /// Whichever suits the endpoint.
    Auto,
    /// In the host name.
    Virtual,
    /// In the path.
    Path,
}

/// `--azure-credential`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Credential {
    /// The program `az`.
    AzureCli,
    /// The identity of the virtual machine.
    ManagedIdentity,
    /// One after the other.
    Default,
}

impl CloudArgs {
    /// The level of what is logged: warnings, and a level more or less for each `-v` or `-q`.
    pub(crate) fn log_level(&self) -> LevelFilter {
        match (self.verbosity.verbose, self.verbosity.quiet) {
            (0, 0) => LevelFilter::WARN,
            (1, _) => LevelFilter::INFO,
            (2.., _) => LevelFilter::DEBUG,
            (0, 1) => LevelFilter::ERROR,
            (0, _) => LevelFilter::OFF,
        }
    }

    /// The provider that was asked for.
    pub(crate) fn provider(&self) -> Option<Provider> {
        self.cloud_provider.map(|name| match name {
            ProviderName::S3 => Provider::S3,
            ProviderName::Azure => Provider::Azure,
            ProviderName::Google => Provider::Google,
        })
    }

    /// What these options say of the store. What is written, and how, is for the commands that write to add.
    pub(crate) fn store_options(&self) -> StoreOptions {
        let mut options = StoreOptions::default();
        options.endpoint.clone_from(&self.endpoint_url);
        options.profile = self.aws_profile.clone().or_else(|| self.profile.clone());
        options.addressing = match self.addressing_style {
            None | Some(AddressingStyle::Auto) => Addressing::Auto,
            Some(AddressingStyle::Virtual) => Addressing::Virtual,
            Some(AddressingStyle::Path) => Addressing::Path,
        };
        options.azure_credential = match self.azure_credential {
            None | Some(Credential::Default) => AzureCredential::Default,
            Some(Credential::AzureCli) => AzureCredential::Cli,
            Some(Credential::ManagedIdentity) => AzureCredential::ManagedIdentity,
        };
        if let Some(seconds) = self.read_timeout.and_then(|seconds| u64::try_from(seconds).ok()) {
            options.retries.read_timeout = Duration::from_secs(seconds.max(1));
        }
        options
    }
}

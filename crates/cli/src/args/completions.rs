//! `completions`.

/// Print a completion script for a shell.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CompletionsArgs {
    /// the shell
    #[arg(value_name = "shell", value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

//! `completions`.

use crate::invocation::Program;

/// Print a completion script for a shell.
///
/// A package installs it where the shell looks for such files; for one user, 'source <(tapster completions bash)' does.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_name = "shell", value_enum)]
    pub(crate) shell: clap_complete::Shell,
    /// complete this program: a link of that name is it
    #[arg(long, value_name = "NAME", value_enum, default_value = "tapster", hide_default_value = true)]
    pub(crate) program: Program,
}

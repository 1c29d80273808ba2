//! `man`.

/// Print a manual page.
///
/// The page is in the format of man(1): 'tapster man restore | man -l -' shows it. Without a name, the names of all pages are
/// printed; a package writes each to a file of that name.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ManArgs {
    /// the page: a command such as 'restore' or 'wal-find', 'tapster.conf', or a name from the list of all
    #[arg(value_name = "page")]
    pub(crate) page: Option<String>,
}

//! One file per command: arguments in, one call into a library, a report handed to the output.

pub(crate) mod completions;

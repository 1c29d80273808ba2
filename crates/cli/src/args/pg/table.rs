//! The option table of a tool's help text, read back: its rows are what manual pages and completions say, too.

use super::Tool;

/// Where the descriptions stand.
const HELP_COLUMN: usize = 25;

/// One option of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    /// `-D`.
    pub(crate) short: Option<char>,
    /// `pgdata`.
    pub(crate) long: String,
    /// `DIRECTORY`; empty for a switch.
    pub(crate) value: String,
    /// The description, on one line.
    pub(crate) help: String,
}

impl Tool {
    /// The options of the table from top to bottom. One that stands there for each way to use it has several rows.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for line in self.options.lines().chain(self.other.lines()) {
            if line.starts_with(' ') && !line.trim_start().starts_with('-') {
                if let Some(row) = rows.last_mut() {
                    row.help = format!("{} {}", row.help, line.trim()).trim().to_owned();
                }
                continue;
            }
            // `  -D, --pgdata=DIRECTORY write …`: the description begins in its column, or on the next line.
            let Some((before, rest)) = line.split_once("--").filter(|_| line.starts_with("  ")) else {
                continue;
            };
            let width = HELP_COLUMN.saturating_sub(before.len() + 2);
            let (spelling, help) = match rest.split_at_checked(width) {
                Some((spelling, help)) if spelling.ends_with(' ') => (spelling.trim_end(), help),
                _ => (rest, ""),
            };
            let (long, value) = spelling.split_once('=').unwrap_or((spelling, ""));
            rows.push(Row {
                short: before.trim_start().strip_prefix('-').and_then(|short| short.chars().next()),
                long: long.to_owned(),
                value: value.to_owned(),
                help: help.trim().to_owned(),
            });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_line_and_of_two() {
        let options = "
Options controlling the output:
  -D, --pgdata=DIRECTORY write the backup into this directory
      --waldir=WALDIR    put it
                         elsewhere
  -T, --tablespace-mapping=OLDDIR=NEWDIR
                         put the tablespace
";
        let tool =
            Tool { purpose: "", operands: "", options, other: "\n  -?, --help             print this\n" };
        let row = |short, long: &str, value: &str, help: &str| Row {
            short,
            long: long.to_owned(),
            value: value.to_owned(),
            help: help.to_owned(),
        };
        let expected = [
            row(Some('D'), "pgdata", "DIRECTORY", "write the backup into this directory"),
            row(None, "waldir", "WALDIR", "put it elsewhere"),
            row(Some('T'), "tablespace-mapping", "OLDDIR=NEWDIR", "put the tablespace"),
            row(Some('?'), "help", "", "print this"),
        ];
        assert_eq!(tool.rows(), expected);
    }
}

//! The arrows of ARCHITECTURE.md, held against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Which of our crates each of them may depend on.
const ARROWS: [(&str, &[&str]); 8] = [
    ("walfile", &[]),
    ("tapster-retention", &[]),
    ("tapster-protocol", &["walfile"]),
    ("tapster-catalog", &["walfile"]),
    ("tapster-copy", &["walfile"]),
    ("tapster-cloud", &["tapster-catalog", "walfile"]),
    (
        "tapster-manager",
        &[
            "tapster-catalog",
            "tapster-cloud",
            "tapster-copy",
            "tapster-protocol",
            "tapster-retention",
            "walfile",
        ],
    ),
    (
        "tapster",
        &[
            "tapster-catalog",
            "tapster-cloud",
            "tapster-copy",
            "tapster-manager",
            "tapster-protocol",
            "walfile",
        ],
    ),
];

/// What no library may pull in: arguments, terminals, log writers and untyped errors are the program's.
const PROGRAM_ONLY: [&str; 7] =
    ["anyhow", "clap", "clap_complete", "eyre", "indicatif", "signal-hook", "tracing-subscriber"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
            let names = normal.map(|d| d["name"].as_str().unwrap().to_owned()).collect();
            (package["name"].as_str().unwrap().to_owned(), names)
        })
        .collect()
}

#[test]
fn the_arrows_hold() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ARROWS {
        let found: BTreeSet<&str> =
            dependencies[name].iter().map(String::as_str).filter(|d| ours.contains(d)).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(found.is_subset(&allowed), "{name} depends on {:?}", found.difference(&allowed));
    }
}

#[test]
fn libraries_leave_the_terminal_alone() {
    let dependencies = dependencies();
    for (name, _) in ARROWS.iter().filter(|(name, _)| *name != "tapster") {
        for forbidden in PROGRAM_ONLY {
            assert!(!dependencies[*name].contains(forbidden), "{name} depends on {forbidden}");
        }
    }
}

/// Everything that C is needed for is behind a feature of the pure crates.
#[test]
fn walfile_and_retention_are_pure_rust() {
    for package in ["walfile", "tapster-retention"] {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "-p",
                package,
                "--no-default-features",
                "-e",
                "normal",
                "--prefix",
                "none",
            ])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        assert!(tree.contains(package));
        assert!(!tree.lines().any(|line| line.contains("-sys v")), "{package} needs C:\n{tree}");
    }
}

/// Sources of walfile and retention do no I/O of their own and know neither time nor environment.
#[test]
fn pure_crates_touch_nothing() {
    for dir in ["crates/walfile/src", "crates/retention/src", "crates/protocol/src/proto"] {
        let mut pending = vec![root().join(dir)];
        while let Some(dir) = pending.pop() {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                for line in lines {
                    for word in
                        ["std::fs", "std::env", "std::net", "SystemTime::now", "Instant::now", "println!"]
                    {
                        assert!(!line.contains(word), "{}: {line}", path.display());
                    }
                }
            }
        }
    }
}

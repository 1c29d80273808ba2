//! Where the program of a store is, and where it can listen.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Of other nodes, of clients, and of operators.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) rpc: u16,
    pub(super) s3: u16,
    pub(super) admin: u16,
}

/// The program of [`Garage`](super::Garage).
pub(super) fn garage() -> Option<PathBuf> {
    program("TAPSTER_TEST_GARAGE", "garage/bin", "garage")
}

/// The program of [`Azurite`](super::Azurite).
pub(super) fn azurite() -> Option<PathBuf> {
    program("TAPSTER_TEST_AZURITE", "azurite/node_modules/.bin", "azurite-blob")
}

/// Where the variable says, where `scripts/setup` puts it below `target`, or in the `PATH`.
fn program(variable: &str, directory: &str, name: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "no program at {} ({variable})", named.display());
        return Some(named);
    }
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target").join(directory).join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = std::env::split_paths(&path).map(|directory| directory.join(name));
    std::iter::once(installed).chain(elsewhere).find(|program| program.is_file())
}

/// Ports that nobody has now. They are all held until the last is found, so that they differ.
pub(super) fn free_ports(nodes: usize) -> Vec<Ports> {
    let held: Vec<TcpListener> =
        (0..3 * nodes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let ports: Vec<u16> =
        held.iter().map(|listener| listener.local_addr().expect("its address").port()).collect();
    ports
        .chunks(3)
        .filter_map(|three| match three {
            [rpc, s3, admin] => Some(Ports { rpc: *rpc, s3: *s3, admin: *admin }),
            _ => None,
        })
        .collect()
}

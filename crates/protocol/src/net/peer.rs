//! `requirepeer`: who runs the server on a Unix socket.

use std::io;

use super::socket::Socket;

/// Whether the process at the other end of a Unix socket runs as the operating-system user `name`.
///
/// Users are looked up in `/etc/passwd` only; one that only a directory service knows is not found, and then the
/// answer is no.
pub(crate) fn peer_is(socket: &Socket, name: &str) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    let accounts = std::fs::read_to_string("/etc/passwd")?;
    let uid = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse::<u32>().ok())?
    });
    Ok(uid == Some(peer.uid.as_raw()))
}

//! Whether a certificate is for a host, by libpq's rules where they are wider than webpki's.

use super::certificate::Certificate;

/// The common name, which counts only without alternative names of the host's kind (`fe-secure-common.c`).
pub(super) fn common_name_matches(certificate: &Certificate<'_>, host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>().is_ok();
    if certificate.has_alternative_names(address) {
        return false;
    }
    certificate.common_name().is_some_and(|name| matches(name, host, address))
}

fn matches(name: &str, host: &str, address: bool) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    // A star stands for exactly one label, and only as the first.
    match (name.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((label, rest))) => {
            !address && !label.is_empty() && !domain.is_empty() && domain.eq_ignore_ascii_case(rest)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        assert!(matches("PG.example.com", "pg.Example.com", false));
        assert!(matches("*.example.com", "pg.example.com", false));
        assert!(!matches("*.example.com", "a.pg.example.com", false));
        assert!(!matches("*.example.com", ".example.com", false));
        assert!(!matches("*.example.com", "example.com", false));
        assert!(!matches("p*.example.com", "pg.example.com", false));
        assert!(!matches("*.0.0.1", "127.0.0.1", true));
        assert!(!matches("*.", "pg.", false));
    }
}

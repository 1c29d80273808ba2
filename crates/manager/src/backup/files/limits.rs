//! `bandwidth_limit` and `tablespace_bandwidth_limit`.

use crate::backup::method::Job;
use crate::config::ServerConfig;

/// Kilobytes per second for a tablespace, or for the data directory.
pub(in crate::backup) fn limit(job: &Job<'_>, tablespace: Option<&str>) -> Option<u32> {
    bandwidth_limit(&job.server.config, job.options.bandwidth_limit, tablespace)
}

/// The same where `given` is what the command line says.
pub(crate) fn bandwidth_limit(
    config: &ServerConfig,
    given: Option<u32>,
    tablespace: Option<&str>,
) -> Option<u32> {
    let limits = config.tablespace_bandwidth_limit.as_deref().unwrap_or_default();
    let own = tablespace.and_then(|name| of_tablespace(limits, name));
    own.or(given).or(config.bandwidth_limit).filter(|limit| *limit > 0)
}

/// `name:kbps name:kbps`; a name may hold a colon, the number does not.
fn of_tablespace(setting: &str, name: &str) -> Option<u32> {
    setting
        .split_whitespace()
        .filter_map(|pair| pair.rsplit_once(':'))
        .find(|(n, _)| *n == name)?
        .1
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tablespace_has_its_limit() {
        let setting = " one:100  two:3:200 three:x";
        assert_eq!(of_tablespace(setting, "one"), Some(100));
        assert_eq!(of_tablespace(setting, "two:3"), Some(200));
        assert_eq!(of_tablespace(setting, "three"), None);
        assert_eq!(of_tablespace(setting, "four"), None);
        assert_eq!(of_tablespace("", "one"), None);
    }
}

//! The daemon without a server: how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_manager::config::{Config, ConfigSources};
use tapster_manager::daemon::{DaemonObserver, DaemonOptions, Supervisor, TaskEvent};
use tapster_protocol::Environment;

use crate::offline::Hub;

/// Its tasks do not end before somebody said that the daemon lives.
struct Slow(Arc<AtomicBool>);

impl DaemonObserver for Slow {
    fn task(&self, _: &str, event: &TaskEvent<'_>) {
        let patience = Instant::now() + Duration::from_secs(10);
        while matches!(event, TaskEvent::Ended { .. })
            && !self.0.load(Ordering::Relaxed)
            && Instant::now() < patience
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A watchdog must not end a daemon that waits for a task to come to its end.
#[test]
fn whoever_waits_for_the_end_can_say_that_he_lives() {
    let hub = Hub::new();
    let conf = hub.home.path().join("tapster.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, format!("{text}description = test\nslot_name = tapster\narchiver = on\n")).unwrap();
    let sources = ConfigSources::file(conf);
    let lives = Arc::new(AtomicBool::new(false));
    let mut daemon = Supervisor::start(
        Config::load(&sources).unwrap(),
        Environment::default(),
        DaemonOptions::default(),
        Arc::new(Slow(Arc::clone(&lives))),
    )
    .unwrap();
    assert_eq!(daemon.servers().collect::<Vec<_>>(), ["main"]);
    let mut meanwhile = || lives.store(true, Ordering::Relaxed);
    daemon.stop_with(&mut meanwhile);
    assert!(lives.load(Ordering::Relaxed));
}

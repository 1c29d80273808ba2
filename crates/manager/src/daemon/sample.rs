//! Gathering metrics now and then, so that whoever asks for them waits for nobody.

use std::time::Duration;

use super::task::{Step, TaskState};
use super::{Shared, lock};
use crate::metrics::MetricsCollector;
use crate::{Context, Server, Silent};

/// Gathers until stopped.
pub(super) fn run(server: &Server, task: &TaskState, shared: &Shared, interval: Duration) {
    let mut context = Context::new(&Silent).with_stop(task.stop());
    context.clock = task.clock();
    let mut collector = MetricsCollector::default();
    task.run(server.name(), &*shared.observer, || {
        let mut sample = collector.collect(server, &context);
        sample.check = lock(&shared.checks).get(server.name()).cloned();
        if !task.stopped() {
            lock(&shared.samples).insert(server.name().to_owned(), sample);
        }
        Step::Again(interval)
    });
}

//! What the server says without being asked.

use std::collections::VecDeque;

use crate::proto::ServerError;

/// A warning or notice of the server.
pub type Notice = ServerError;

/// Notices kept until somebody asks; a server that warns for each of a million files does not fill memory.
#[derive(Debug, Default)]
pub(super) struct Notices(VecDeque<Notice>);

impl Notices {
    const KEPT: usize = 100;

    pub(super) fn push(&mut self, notice: Notice) {
        tracing::info!(severity = notice.severity, code = notice.code, "server: {notice}");
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(notice);
    }

    pub(super) fn take(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.0).into()
    }
}

//! What is told while a model is fetched.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::plan::HubPlan;

/// Something that happens while a model is fetched from the Hub: see [`HubModel::progress`](super::HubModel::progress).
#[derive(Debug)]
#[non_exhaustive]
pub enum HubEvent<'a> {
    /// What will be fetched, before the first byte. There is no such event if everything is in the cache.
    Plan(&'a HubPlan),
    /// Another process or thread is fetching this file; it is waited for.
    Waiting {
        /// The file's name in the repository.
        file: &'a str,
    },
    /// So much of a file is there. The first such event of a file that is resumed begins where it was left.
    Progress {
        /// The file's name in the repository.
        file: &'a str,
        /// The bytes that are there.
        bytes: u64,
        /// The bytes of the whole file.
        size: u64,
    },
    /// A file is in the cache, and its hash is right.
    Finished {
        /// The file's name in the repository.
        file: &'a str,
    },
    /// A request failed and will be made again.
    Retrying {
        /// What went wrong.
        reason: &'a str,
        /// How long it waits before that.
        pause: Duration,
    },
    /// The Hub could not be asked which commit a branch is at, and the cached one is used.
    Unreachable {
        /// What went wrong.
        reason: &'a str,
        /// The commit that is used.
        commit: &'a str,
    },
}

/// Who is told.
pub(super) type Report<'a> = &'a (dyn Fn(&HubEvent<'_>) + Send + Sync);

/// A caller's function.
#[derive(Clone)]
pub(super) struct Listener(pub(super) Arc<dyn Fn(&HubEvent<'_>) + Send + Sync>);

impl Default for Listener {
    fn default() -> Self {
        Self(Arc::new(|_| {}))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

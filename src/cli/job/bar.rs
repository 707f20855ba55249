//! How far a job is, for people at a terminal.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::super::output::message;
use super::tally::Tally;

/// How much there is to do.
#[derive(Debug, Clone, Default)]
pub(in super::super) enum Extent {
    #[default]
    Unknown,
    /// So many units.
    Units(u64),
    /// So many bytes of input, of which so many were read.
    Bytes { read: Arc<AtomicU64>, total: u64 },
}

/// A bar on a terminal; nothing elsewhere.
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    extent: Extent,
    units: &'static str,
    items: &'static str,
    start: Instant,
    /// Items that were done before this process.
    before: u64,
}

impl Bar {
    pub(super) fn new(extent: Extent, units: &'static str, items: &'static str, begun: &Tally) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let (length, template) = match &extent {
                Extent::Unknown => (None, "{spinner} {elapsed} {msg}"),
                Extent::Units(total) => (Some(*total), "[{bar:30}] {percent}% {msg}, {eta} left"),
                Extent::Bytes { total, .. } => (Some(*total), "[{bar:30}] {percent}% {msg}, {eta} left"),
            };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
            bar.set_style(style.progress_chars("=> "));
            if let Extent::Units(_) = extent {
                bar.set_position(begun.units);
            }
            bar.reset_eta();
            bar
        });
        Self { bar, extent, units, items, start: Instant::now(), before: begun.items }
    }

    pub(super) fn show(&self, tally: &Tally) {
        let Some(bar) = &self.bar else { return };
        match &self.extent {
            Extent::Unknown => bar.tick(),
            Extent::Units(_) => bar.set_position(tally.units),
            Extent::Bytes { read, total } => bar.set_position(read.load(Ordering::Relaxed).min(*total)),
        }
        let rate = (tally.items - self.before) as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        bar.set_message(format!("{} {}, {rate:.0} {}/s", HumanCount(tally.units), self.units, self.items));
    }

    /// A message that does not tear the bar apart.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| message(text)),
            None => message(text),
        }
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// How long to wait between two looks at what has come.
    pub(super) const PATIENCE: Duration = Duration::from_millis(100);
}

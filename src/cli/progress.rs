//! What people see while a model is fetched: bars on a terminal, a few lines elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::sync::Mutex;

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use super::output::message;
use super::text::count;
use crossrank::{HubEvent, HubPlan};

/// The most files that are shown of those that may turn out to be needed.
const MOST_SHOWN: usize = 10;

/// A listener for [`HubModel::progress`](crossrank::HubModel::progress); `shown` puts the plan into words.
pub(super) fn listener(shown: impl Fn(&HubPlan) -> String + Send + Sync) -> impl Fn(&HubEvent<'_>) + Send + Sync {
    let bar = io::stderr().is_terminal().then(|| Mutex::new(ProgressBar::hidden()));
    move |event| match event {
        HubEvent::Plan(plan) => message(&shown(plan)),
        HubEvent::Waiting { file } => message(&format!("waiting for another process that fetches {file}")),
        HubEvent::Retrying { reason, pause } => {
            say(bar.as_ref(), &format!("warning: {reason}; trying again in {:.1} s", pause.as_secs_f64()));
        }
        HubEvent::Unreachable { reason, commit } => {
            message(&format!("warning: {reason}; the cached commit {commit} is used"));
        }
        HubEvent::Progress { file, bytes, size } => {
            if let Some(Ok(mut bar)) = bar.as_ref().map(Mutex::lock) {
                // The first news of a file.
                if bar.is_hidden() {
                    *bar = new_bar(file, *size);
                }
                bar.set_position(*bytes);
            }
        }
        HubEvent::Finished { .. } => {
            if let Some(Ok(mut bar)) = bar.as_ref().map(Mutex::lock) {
                bar.finish();
                *bar = ProgressBar::hidden();
            }
        }
        _ => {}
    }
}

/// The plan in one line.
pub(super) fn summary(plan: &HubPlan) -> String {
    format!(
        "fetching {} of {} for {}@{}",
        DecimalBytes(plan.missing_bytes()),
        count(plan.files().len(), "file"),
        plan.repository(),
        plan.revision()
    )
}

/// The plan file by file.
pub(super) fn table(plan: &HubPlan) -> String {
    let width = plan.files().iter().map(|file| file.name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}@{} (commit {})\n", plan.repository(), plan.revision(), plan.commit());
    for file in plan.files() {
        let state = match file.cached {
            _ if file.is_cached => "in the cache".to_owned(),
            0 => String::new(),
            part => format!("{} are in the cache", DecimalBytes(part)),
        };
        let line = format!("  {:<width$}  {:>10}  {state}", file.name, DecimalBytes(file.size).to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for file in plan.may_need().iter().take(MOST_SHOWN) {
        let size = DecimalBytes(file.size).to_string();
        let _ = writeln!(text, "  {}  {size:>10}  if the ONNX file names it", file.name);
    }
    if let Some(more @ 1..) = plan.may_need().len().checked_sub(MOST_SHOWN) {
        let _ = writeln!(text, "  {} more, if the ONNX file names them", count(more, "file"));
    }
    let _ =
        write!(text, "{} in all, {} to fetch", DecimalBytes(plan.total_bytes()), DecimalBytes(plan.missing_bytes()),);
    if let Some(free) = plan.free_bytes() {
        let _ = write!(text, "; {} free on the disk", DecimalBytes(free));
    }
    text
}

fn new_bar(file: &str, size: u64) -> ProgressBar {
    // Not the template's own words, which a file's name could hold.
    let style = ProgressStyle::with_template(
        "{prefix} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    let name: String = file.chars().filter(|c| !c.is_control()).collect();
    let bar = ProgressBar::new(size).with_style(style.progress_chars("=> ")).with_prefix(name);
    bar.reset_eta();
    bar
}

/// A message that does not tear a bar apart.
fn say(bar: Option<&Mutex<ProgressBar>>, text: &str) {
    match bar.map(Mutex::lock) {
        Some(Ok(bar)) => bar.suspend(|| message(text)),
        _ => message(text),
    }
}

//! `crossrank doctor`: what would run, and what is missing.

use std::fmt::Write as _;
use std::thread;

use clap::Args;

use super::failure::{Failure, Outcome};
use super::models::{EmbedderOptions, EngineOptions, RerankerOptions, Timed};
use super::output::{Output, message};
use super::text::milliseconds;
use crossrank::{ModelInfo, runtime};

/// Show which ONNX Runtime, models and threads would be used, and what to do where something is missing.
///
/// Exit code 2 if something is missing.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    reranker: RerankerOptions,
    #[command(flatten)]
    embedder: EmbedderOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    arguments.engine.check(&[&arguments.reranker.reranker, &arguments.embedder.embedder])?;
    let mut report = String::new();
    let mut problems = Vec::new();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    line(&mut report, "crossrank", env!("CARGO_PKG_VERSION"));
    match runtime::load() {
        Ok(runtime) => describe_runtime(&mut report, runtime, &mut problems),
        Err(error) => problems.push(error.chain()),
    }
    line(&mut report, "cores", &cores.to_string());
    // Without a runtime no model can be tried, and each would only say so again.
    if problems.is_empty() {
        describe_model(
            &mut report,
            "reranker",
            arguments.reranker.load(&arguments.engine),
            |e| e.info(),
            &mut problems,
        );
        describe_model(
            &mut report,
            "embedder",
            arguments.embedder.load(&arguments.engine),
            |e| e.info(),
            &mut problems,
        );
    }
    if problems.is_empty() {
        report.push_str("\nAll is well.\n");
    }
    Output::open(None)?.write(&report)?;
    for problem in &problems {
        message(&format!("error: {problem}"));
    }
    match problems.len() {
        0 => Ok(Outcome::Done),
        1 => Err(Failure::Setup("1 problem was found".to_owned())),
        n => Err(Failure::Setup(format!("{n} problems were found"))),
    }
}

fn line(report: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(report, "{name:<16} {value}");
}

fn detail(report: &mut String, name: &str, value: &str) {
    let _ = writeln!(report, "  {name:<14} {value}");
}

fn describe_runtime(report: &mut String, runtime: &runtime::Runtime, problems: &mut Vec<String>) {
    line(report, "ONNX Runtime", runtime.version());
    detail(report, "found", &runtime.place().to_string());
    if let Some(path) = runtime.path() {
        detail(report, "library", &path.display().to_string());
    }
    for library in runtime.passed_over() {
        detail(report, "passed over", &library.to_string());
    }
    match runtime.providers() {
        Ok(providers) => detail(report, "providers", &providers.join(", ")),
        Err(error) => problems.push(error.chain()),
    }
    detail(report, "telemetry", if runtime.may_send_telemetry() { "may be sent" } else { "off" });
    detail(report, "oldest usable", &format!("1.{}", runtime::OLDEST_MINOR_VERSION));
}

fn describe_model<T>(
    report: &mut String,
    role: &str,
    loaded: Result<Timed<T>, Failure>,
    info: impl Fn(&T) -> &ModelInfo,
    problems: &mut Vec<String>,
) {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(failure) => {
            problems.push(format!("{role}: {failure}"));
            return;
        }
    };
    let info = info(&loaded.engine);
    line(report, role, &info.name);
    if let Some(commit) = &info.commit {
        detail(report, "commit", commit);
    }
    if let Some(architecture) = &info.architecture {
        detail(report, "architecture", architecture);
    }
    detail(report, "precision", &info.precision);
    detail(report, "maximum length", &format!("{} tokens ({})", info.max_length, info.max_length_source));
    if let Some(activation) = info.activation {
        let label = info.score_label.as_ref().map_or(String::new(), |label| format!(" of {label}"));
        detail(report, "score", &format!("{activation}{label}"));
        if info.labels.len() > 1 {
            detail(report, "labels", &info.labels.join(", "));
        }
    }
    if let Some(head) = info.head.as_deref().filter(|head| *head != "labels") {
        detail(report, "head", head);
    }
    if let Some(template) = &info.template {
        detail(report, "template", template);
    }
    for (name, prompt) in [("query prompt", &info.query_prompt), ("document prompt", &info.document_prompt)] {
        if let Some(prompt) = prompt.as_ref().filter(|prompt| !prompt.is_empty()) {
            detail(report, name, &format!("{prompt:?}"));
        }
    }
    if let Some(pooling) = &info.pooling {
        detail(report, "pooling", pooling);
        for module in &info.modules {
            detail(report, "then", module);
        }
        detail(report, "normalized", if info.normalized { "yes" } else { "no" });
    }
    if let Some(dimensions) = info.dimensions {
        let kept = match info.full_dimensions {
            Some(full) if full != dimensions => format!("the first {dimensions} of {full}"),
            _ => dimensions.to_string(),
        };
        detail(report, "dimensions", &kept);
    }
    detail(report, "inputs", &info.inputs.join(", "));
    detail(report, "output", &info.output);
    detail(report, "computed in", &format!("{} ({})", info.compute, info.kernels));
    detail(report, "runs on", &format!("{}, {} at a time", info.device, info.threads));
    detail(report, "load time", &format!("{:.0} ms", milliseconds(loaded.load_time)));
    for file in &info.files {
        detail(report, "file", &format!("{} ({} bytes)", file.name, file.bytes));
    }
}

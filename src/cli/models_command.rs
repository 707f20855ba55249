//! `crossrank models`: the catalogue, and models of the Hub in the cache.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::DecimalBytes;
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::output::{self, Output, message};
use super::progress;
use crossrank::{CatalogueEntry, FileState, HubModel, ModelKind, ModelSource, Precision, VerifiedFile, catalogue};

/// List known models, and fetch and check models of the Hugging Face Hub.
///
/// Any repository of the Hub with an ONNX export can be used: `hub:ORG/NAME` or `hub:ORG/NAME@REVISION`. The catalogue
/// gives short names to some. Models are kept in the cache of `huggingface_hub` (HF_HOME). HF_TOKEN, HF_ENDPOINT and
/// HF_HUB_OFFLINE are obeyed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Pull(Pull),
    Verify(Verify),
}

/// List the catalogue.
#[derive(Debug, Args)]
struct List {
    /// Only models for this
    #[arg(long, value_name = "KIND", value_enum)]
    kind: Option<Kind>,
    /// The form of the list
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Show all that the catalogue has on a model.
#[derive(Debug, Args)]
struct Show {
    /// A name of the catalogue
    #[arg(value_name = "NAME")]
    name: String,
    /// The form of the result
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Fetch a model of the Hub into the cache, and print its folder.
///
/// What is in the cache already is not fetched again; a fetch that was interrupted goes on where it stopped.
#[derive(Debug, Args)]
struct Pull {
    /// A name of the catalogue, or `hub:ORG/NAME[@REVISION]`
    #[arg(value_name = "MODEL")]
    model: String,
    /// Which ONNX file, where there are several: fp32, fp16, int8, uint8, quantized, q4, q4f16 or bnb4
    /// [default: fp32, else the only file]
    #[arg(long, value_name = "PRECISION")]
    precision: Option<Precision>,
    /// Only print what would be fetched
    #[arg(long)]
    dry_run: bool,
}

/// Check the files of a cached model against the Hub's hashes, without a network.
///
/// Exit code 1 if a file is damaged or missing.
#[derive(Debug, Args)]
struct Verify {
    /// A name of the catalogue, or `hub:ORG/NAME[@REVISION]`
    #[arg(value_name = "MODEL")]
    model: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Cross-encoders, for --reranker
    Reranker,
    /// Embedding models, for --embedder
    Embedder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::List(arguments) => list(arguments),
        Command::Show(arguments) => show(arguments),
        Command::Pull(arguments) => pull(arguments),
        Command::Verify(arguments) => verify(arguments),
    }
}

fn list(arguments: &List) -> Result<Outcome, Failure> {
    let wanted = |entry: &&CatalogueEntry| match arguments.kind {
        None => true,
        Some(Kind::Reranker) => entry.kind() == ModelKind::Reranker,
        Some(Kind::Embedder) => entry.kind() == ModelKind::Embedder,
    };
    let entries = catalogue().iter().filter(wanted);
    let text = match arguments.format {
        Format::Text => as_table(entries),
        Format::Json => output::json(&entries.map(JsonEntry::from).collect::<Vec<_>>()),
    };
    Output::open(None)?.write(&text)?;
    Ok(Outcome::Done)
}

/// One line a model.
fn as_table<'a>(entries: impl Iterator<Item = &'a CatalogueEntry>) -> String {
    let header = ["NAME", "KIND", "PARAMETERS", "TOKENS", "DIMENSIONS", "LANGUAGES", "LICENCE", "FILES", "RUN HERE"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(entries.map(|entry| {
        let precisions: Vec<&str> = entry.files().map(|(precision, _)| precision).collect();
        [
            entry.name().to_owned(),
            entry.kind().to_string(),
            entry.parameters().map_or("-".to_owned(), short_number),
            or_dash(entry.max_tokens()),
            or_dash(entry.dimensions()),
            or_dash(entry.languages()),
            or_dash(entry.licence()),
            or_dash(Some(precisions.join(",")).filter(|text| !text.is_empty())),
            if entry.run_here() { "yes" } else { "no" }.to_owned(),
        ]
    }));
    let widths: Vec<usize> =
        (0..header.len()).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// `22.7M`, `568M`, `1.5B`.
fn short_number(n: u64) -> String {
    let (value, unit) = match n {
        0..1_000_000 => (n as f64 / 1e3, "K"),
        1_000_000..1_000_000_000 => (n as f64 / 1e6, "M"),
        _ => (n as f64 / 1e9, "B"),
    };
    let digits = usize::from(value < 100.0);
    format!("{value:.digits$}{unit}")
}

fn show(arguments: &Show) -> Result<Outcome, Failure> {
    let entry = CatalogueEntry::find(&arguments.name).ok_or_else(|| match ModelSource::parse(&arguments.name) {
        Err(error) => error.into(),
        Ok(_) => Failure::Setup(format!("{} is a model, but not one of the catalogue", arguments.name)),
    })?;
    let mut shown = JsonEntry::from(entry);
    shown.cached = Some(cached_precisions(entry)?);
    let text = match arguments.format {
        Format::Text => as_lines(entry, shown.cached.as_deref().unwrap_or_default()),
        Format::Json => output::json(&shown),
    };
    Output::open(None)?.write(&text)?;
    Ok(Outcome::Done)
}

/// The precisions of an entry that can be used without a network.
fn cached_precisions(entry: &CatalogueEntry) -> Result<Vec<String>, Failure> {
    let model = hub_model(entry.name())?.offline(true);
    let is_cached = |precision: &Precision| {
        let plan = entry.file(*precision).map(|_| model.clone().precision(*precision).plan());
        plan.is_some_and(|plan| plan.is_ok_and(|plan| plan.is_cached()))
    };
    Ok(Precision::ALL.iter().filter(|precision| is_cached(precision)).map(ToString::to_string).collect())
}

fn as_lines(entry: &CatalogueEntry, cached: &[String]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("name", entry.name());
    line("kind", &entry.kind().to_string());
    line("repository", &format!("hub:{}", entry.repository()));
    for (precision, file) in entry.files() {
        line("file", &format!("{precision}: {file}"));
    }
    line("family", entry.family());
    line("parameters", &entry.parameters().map_or("-".to_owned(), short_number));
    line("max tokens", &or_dash(entry.max_tokens()));
    line("dimensions", &or_dash(entry.dimensions()));
    line("languages", &or_dash(entry.languages()));
    line("licence", &or_dash(entry.licence()));
    line("good at", entry.good_at());
    if let Some(prompts) = entry.prompts() {
        line("prompt", &format!("of a query: {:?}", prompts.query));
        line("prompt", &format!("of a document: {:?}", prompts.document));
    }
    for source in entry.sources() {
        line("source", source);
    }
    line("run here", if entry.run_here() { "yes" } else { "no: these facts are from its sources" });
    line("in the cache", &if cached.is_empty() { "no".to_owned() } else { cached.join(", ") });
    text
}

fn pull(arguments: &Pull) -> Result<Outcome, Failure> {
    let mut model = hub_model(&arguments.model)?.progress(progress::listener(progress::table));
    if let Some(precision) = arguments.precision {
        model = model.precision(precision);
    }
    if arguments.dry_run {
        let plan = progress::table(&model.plan()?);
        Output::open(None)?.write(&format!("{plan}\n"))?;
        return Ok(Outcome::Done);
    }
    let plan = model.pull()?;
    Output::open(None)?.write(&format!("{}\n", plan.folder().display()))?;
    Ok(Outcome::Done)
}

fn verify(arguments: &Verify) -> Result<Outcome, Failure> {
    let files = hub_model(&arguments.model)?.verify()?;
    let mut text = String::new();
    for file in &files {
        let _ = writeln!(text, "{:<8}  {:>10}  {}", state(file), DecimalBytes(file.size).to_string(), file.name);
    }
    Output::open(None)?.write(&text)?;
    let wrong: Vec<&VerifiedFile> = files.iter().filter(|file| file.is_wrong()).collect();
    for file in &wrong {
        message(&format!("error: {} is {}: {}", file.name, state(file), file.path.display()));
    }
    if wrong.is_empty() {
        return Ok(Outcome::Done);
    }
    message(&format!("remove these files, and fetch them again with `crossrank models pull {}`", arguments.model));
    Ok(Outcome::InputFailed)
}

fn state(file: &VerifiedFile) -> &'static str {
    match file.state {
        FileState::Good => "good",
        FileState::Damaged => "damaged",
        FileState::Missing => "missing",
        _ => "no hash",
    }
}

/// The model of the Hub that a name means.
fn hub_model(name: &str) -> Result<HubModel, Failure> {
    // A folder that happens to have the name is not what these commands are about.
    let source = match CatalogueEntry::find(name) {
        Some(entry) => entry.source(),
        None => ModelSource::parse(name)?,
    };
    source.hub_model().cloned().ok_or_else(|| {
        Failure::Setup(format!("{name} is not a model of the Hub; name one of the catalogue, or hub:ORG/NAME"))
    })
}

#[derive(Serialize)]
struct JsonEntry<'a> {
    name: &'a str,
    kind: String,
    repository: &'a str,
    files: serde_json::Map<String, serde_json::Value>,
    family: &'a str,
    parameters: Option<u64>,
    max_tokens: Option<usize>,
    dimensions: Option<usize>,
    languages: Option<&'a str>,
    licence: Option<&'a str>,
    good_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompts: Option<JsonPrompts<'a>>,
    sources: &'a [String],
    run_here: bool,
    /// The precisions that are in the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    cached: Option<Vec<String>>,
}

#[derive(Serialize)]
struct JsonPrompts<'a> {
    query: &'a str,
    document: &'a str,
}

impl<'a> From<&'a CatalogueEntry> for JsonEntry<'a> {
    fn from(entry: &'a CatalogueEntry) -> Self {
        Self {
            name: entry.name(),
            kind: entry.kind().to_string(),
            repository: entry.repository(),
            files: entry.files().map(|(precision, file)| (precision.to_owned(), file.into())).collect(),
            family: entry.family(),
            parameters: entry.parameters(),
            max_tokens: entry.max_tokens(),
            dimensions: entry.dimensions(),
            languages: entry.languages(),
            licence: entry.licence(),
            good_at: entry.good_at(),
            prompts: entry.prompts().map(|prompts| JsonPrompts { query: &prompts.query, document: &prompts.document }),
            sources: entry.sources(),
            run_here: entry.run_here(),
            cached: None,
        }
    }
}

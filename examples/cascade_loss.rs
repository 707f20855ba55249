//! What a cascade gains in time and loses in nDCG@10 against a cross-encoder on all documents, on a collection of yours.
//!
//! `cargo run --release --example cascade_loss -- FOLDER RUN [QUERIES [DEPTH [RERANKER EMBEDDER]]]`
//!
//! FOLDER has the layout of BEIR: `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`), and
//! judgements `qrels.trec` (`query 0 document relevance`). RUN is the first stage in TREC's form (`query Q0 document rank
//! score tag`): its best DEPTH documents (by default 100) of each of the first QUERIES judged queries (by default 100)
//! are ranked. RERANKER and EMBEDDER are model folders; by default the bundled ones run.
//!
//! The documents are embedded once, before; the seconds are those of the queries. All ways take turns for each query, so
//! that a busy machine is busy for all of them. nDCG is that of trec_eval: linear gain, ideal over all judged documents.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use crossrank::{Candidates, Cascade, CascadeOptions, Embedder, Embeddings, Reranker};
use serde::Deserialize;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

/// What one way of ranking came to.
struct Way {
    name: String,
    /// None ranks without a cross-encoder.
    options: Option<CascadeOptions>,
    ndcg: f64,
    read: usize,
    time: Duration,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, run, rest @ ..] = arguments.as_slice() else {
        return Err("usage: cascade_loss FOLDER RUN [QUERIES [DEPTH [RERANKER EMBEDDER]]]".into());
    };
    let number = |at: usize| rest.get(at).map_or(Ok(100), |text| text.parse::<usize>());
    let (most_queries, depth) = (number(0)?, number(1)?);
    let (reranker, embedder) = match &rest[rest.len().min(2)..] {
        [] => (Reranker::bundled()?, Embedder::bundled()?),
        [reranker, embedder] => (Reranker::from_dir(reranker)?, Embedder::from_dir(embedder)?),
        _ => return Err("name both models, or none".into()),
    };

    let folder = Path::new(folder);
    let corpus = texts(&folder.join("corpus.jsonl"))?;
    let judged = judgements(&folder.join("qrels.trec"))?;
    let run = first_stage(Path::new(run), depth)?;
    let queries: Vec<Entry> = entries(&folder.join("queries.jsonl"))?
        .into_iter()
        .filter(|query| judged.get(&query.id).is_some_and(|of_query| of_query.values().any(|gain| *gain > 0.0)))
        .take(most_queries)
        .collect();
    let found = |query: &Entry| run.get(&query.id).map_or(&[][..], Vec::as_slice);

    // Each document of the first stage once, as a program with a fixed corpus would do.
    let mut seen = HashSet::new();
    let documents: Vec<&str> =
        queries.iter().flat_map(found).map(String::as_str).filter(|document| seen.insert(*document)).collect();
    let missing = |document: &str| format!("the run names the document `{document}`, and corpus.jsonl has none such");
    let text = |document: &str| corpus.get(document).map(String::as_str).ok_or_else(|| missing(document));
    let start = Instant::now();
    let all_texts = documents.iter().map(|document| text(document)).collect::<Result<Vec<_>, _>>()?;
    let embeddings = embedder.embed_documents(&all_texts)?;
    let embedding_time = start.elapsed();
    let row: HashMap<&str, usize> = documents.iter().copied().zip(0..).collect();

    let cascade = Cascade::new(&embedder, &reranker);
    let fixed = |m: usize| (format!("cascade, {m}"), Some(CascadeOptions::new().candidates(m)));
    let gap = |at_least: usize, at_most: usize| {
        let options = CascadeOptions::new().candidates(Candidates::Gap { at_least, at_most });
        (format!("cascade, gap {at_least} to {at_most}"), Some(options))
    };
    let mut ways: Vec<Way> = [
        ("first stage".to_owned(), None),
        ("bi-encoder".to_owned(), None),
        ("cross-encoder on all".to_owned(), None),
        fixed(10),
        fixed(20),
        fixed(50),
        gap(1, 50),
        gap(10, 50),
    ]
    .into_iter()
    .map(|(name, options)| Way { name, options, ndcg: 0.0, read: 0, time: Duration::ZERO })
    .collect();

    for query in &queries {
        let candidates = found(query);
        let texts = candidates.iter().map(|document| text(document)).collect::<Result<Vec<_>, _>>()?;
        let rows = candidates.iter().filter_map(|document| embeddings.get(row[document.as_str()]));
        let of_query = Embeddings::from_rows(rows.map(<[f32]>::to_vec))?;
        for (at, way) in ways.iter_mut().enumerate() {
            let start = Instant::now();
            let order: Vec<usize> = match (at, &way.options) {
                (_, Some(options)) => {
                    let ranking = cascade.rerank_with_embeddings(&query.text, &texts, &of_query, options)?;
                    way.read += ranking.candidates();
                    ranking.iter().map(|result| result.index).collect()
                }
                (0, None) => (0..texts.len()).collect(),
                (1, None) => {
                    let similarities = of_query.similarities(&embedder.embed_query(&query.text)?);
                    let mut order: Vec<usize> = (0..texts.len()).collect();
                    order.sort_by(|a, b| similarities[*b].total_cmp(&similarities[*a]));
                    order
                }
                (_, None) => {
                    way.read += texts.len();
                    reranker.rerank(&query.text, &texts)?.iter().map(|result| result.index).collect()
                }
            };
            way.time += start.elapsed();
            way.ndcg += ndcg_at_10(order.iter().map(|index| candidates[*index].as_str()), &judged[&query.id]);
        }
    }

    println!("{}\n{}", embedder.info().title(), reranker.info().title());
    let seconds = embedding_time.as_secs_f64();
    println!("{} queries; {} documents embedded in {seconds:.1} s, once\n", queries.len(), documents.len());
    println!("| way | pairs read a query | nDCG@10 | seconds a query |\n| --- | ---: | ---: | ---: |");
    let n = queries.len().max(1) as f64;
    for Way { name, ndcg, read, time, .. } in &ways {
        println!("| {name} | {:.1} | {:.4} | {:.3} |", *read as f64 / n, ndcg / n, time.as_secs_f64() / n);
    }
    Ok(())
}

/// nDCG@10 with linear gain; the ideal is made of all judged documents.
fn ndcg_at_10<'a>(order: impl Iterator<Item = &'a str>, gains: &HashMap<String, f64>) -> f64 {
    let dcg = |gains: &mut dyn Iterator<Item = f64>| -> f64 {
        gains.take(10).zip(2..).map(|(gain, rank)| gain / f64::from(rank).log2()).sum()
    };
    let mut ideal: Vec<f64> = gains.values().copied().filter(|gain| *gain > 0.0).collect();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let found = dcg(&mut order.map(|document| gains.get(document).map_or(0.0, |gain| gain.max(0.0))));
    found / dcg(&mut ideal.into_iter())
}

/// The lines of a file that are not blank.
fn lines(path: &Path) -> Outcome<Vec<String>> {
    let file = File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let lines = BufReader::new(file).lines().filter(|line| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
    Ok(lines.collect::<Result<_, _>>()?)
}

fn entries(path: &Path) -> Outcome<Vec<Entry>> {
    lines(path)?.iter().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Document id → text; a title stands before the text, as BEIR's own code puts it.
fn texts(path: &Path) -> Outcome<HashMap<String, String>> {
    let text = |entry: Entry| (entry.id, format!("{} {}", entry.title, entry.text).trim().to_owned());
    Ok(entries(path)?.into_iter().map(text).collect())
}

/// Query id → document id → relevance.
fn judgements(path: &Path) -> Outcome<HashMap<String, HashMap<String, f64>>> {
    let mut judged: HashMap<String, HashMap<String, f64>> = HashMap::new();
    for line in lines(path)? {
        let [query, _, document, relevance] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("{}: not `query 0 document relevance`: {line}", path.display()).into());
        };
        judged.entry(query.to_owned()).or_default().insert(document.to_owned(), relevance.parse()?);
    }
    Ok(judged)
}

/// Query id → the ids of its documents, best rank first.
fn first_stage(path: &Path, depth: usize) -> Outcome<HashMap<String, Vec<String>>> {
    let mut ranked: HashMap<String, Vec<(u64, String)>> = HashMap::new();
    for line in lines(path)? {
        let [query, _, document, rank, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("{}: not `query Q0 document rank score tag`: {line}", path.display()).into());
        };
        ranked.entry(query.to_owned()).or_default().push((rank.parse()?, document.to_owned()));
    }
    let best = |mut found: Vec<(u64, String)>| {
        found.sort();
        found.into_iter().take(depth).map(|(_, document)| document).collect()
    };
    Ok(ranked.into_iter().map(|(query, found)| (query, best(found))).collect())
}

//! Results of a tantivy search (BM25), reranked in the same process.
//!
//! `cargo run --release --manifest-path examples/tantivy/Cargo.toml -- "how do plants make food"`

use crossrank::{RankOptions, Reranker};
use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{STORED, Schema, TEXT, Value};
use tantivy::{Index, TantivyDocument, doc};

const TEXTS: [&str; 10] = [
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "Food plants such as maize and rice are grown in fields.",
    "How to make food for indoor plants: mix compost with coffee grounds.",
    "Leaves are green because chlorophyll absorbs red and blue light.",
    "A power plant makes electricity, not food.",
    "Plants make their own food in their leaves, from sunlight, air and water.",
    "Roots take up water and minerals from the soil.",
    "The food chain begins with plants.",
    "Bread, pasta and other food is made from wheat, a plant.",
    "Mushrooms are not plants: they cannot make food from light.",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let query = std::env::args().nth(1).unwrap_or_else(|| "how do plants make food".to_owned());

    let mut schema = Schema::builder();
    let text = schema.add_text_field("text", TEXT | STORED);
    let index = Index::create_in_ram(schema.build());
    let mut writer = index.writer(15_000_000)?;
    for passage in TEXTS {
        writer.add_document(doc!(text => passage))?;
    }
    writer.commit()?;

    // The first stage: BM25 over all documents.
    let searcher = index.reader()?.searcher();
    let (parsed, _) = QueryParser::for_index(&index, vec![text]).parse_query_lenient(&query);
    let found = searcher.search(&parsed, &TopDocs::with_limit(8).order_by_score())?;
    let mut candidates = Vec::new();
    for (bm25, address) in found {
        let document: TantivyDocument = searcher.doc(address)?;
        let stored = document.get_first(text).and_then(|value| value.as_str()).unwrap_or_default();
        candidates.push((bm25, stored.to_owned()));
    }

    // The second stage: the cross-encoder reads each candidate with the query.
    let reranker = Reranker::bundled()?;
    let documents: Vec<&str> = candidates.iter().map(|(_, text)| text.as_str()).collect();
    let ranking = reranker.rerank_with(&query, &documents, &RankOptions::new().top_n(5))?;

    println!("query: {query}\nrank  score   BM25 rank  BM25");
    for (result, rank) in ranking.iter().zip(1..) {
        let (bm25, text) = &candidates[result.index];
        println!("{rank:>4}  {:.4}  {:>9}  {bm25:.2}  {text}", result.score, result.index + 1);
    }
    Ok(())
}

//! The library in one file: rank documents, look at the report, compare with embeddings.
//!
//! `cargo run --release --example quickstart`

use crossrank::{Embedder, RankOptions, Reranker};

fn main() -> crossrank::Result<()> {
    let query = "How do I undo the last commit?";
    let documents = [
        "git reset --soft HEAD~1 takes the last commit back and keeps its changes.",
        "A commit records changes to the repository.",
        "The committee met last week to undo the decision.",
        "git revert makes a new commit that undoes an earlier one.",
    ];

    // Loading takes a moment; a loaded engine is used through `&self` from any thread.
    let reranker = Reranker::bundled()?;
    println!("{}, at most {} tokens", reranker.info().title(), reranker.info().max_length);

    let ranking = reranker.rerank_with(query, &documents, &RankOptions::new().top_n(3))?;
    for (result, rank) in ranking.iter().zip(1..) {
        println!("{rank}. {:.4} {}", result.score, documents[result.index]);
    }
    for cut in ranking.truncated() {
        println!("document {} was cut by {} tokens", cut.index, cut.dropped_tokens);
    }

    // The same by embeddings: each text is read alone, and similarity is the cosine.
    let embedder = Embedder::bundled()?;
    let of_query = embedder.embed_queries(&[query])?;
    let similarities = embedder.embed_documents(&documents)?.similarities(of_query.as_slice());
    println!("\n{}", embedder.info().title());
    for (similarity, document) in similarities.iter().zip(documents) {
        println!("{similarity:.4} {document}");
    }
    Ok(())
}

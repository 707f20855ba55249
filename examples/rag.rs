//! The step between retrieval and generation: passages with metadata → the few that go into a prompt, with their sources.
//!
//! `cargo run --release --example rag`

use crossrank::{Cascade, CascadeOptions, Embedder, RankOptions, Reranker};

/// A passage as it lies in somebody's store: the text, and what the answer has to cite.
struct Passage {
    source: &'static str,
    page: u32,
    text: &'static str,
}

/// The engines take anything that is a text.
impl AsRef<str> for Passage {
    fn as_ref(&self) -> &str {
        self.text
    }
}

const fn passage(source: &'static str, page: u32, text: &'static str) -> Passage {
    Passage { source, page, text }
}

const PASSAGES: [Passage; 8] = [
    passage("handbook", 12, "Employees have 28 days of paid leave a year; unused days expire on 31 March."),
    passage("handbook", 13, "Requests for leave are made in the portal at least two weeks ahead."),
    passage("handbook", 40, "The canteen is open from 11:30 to 14:00."),
    passage("faq", 3, "Can I carry over vacation? Up to five days, if your manager agrees before the end of the year."),
    passage("faq", 7, "The office is closed between Christmas and New Year."),
    passage("policy", 2, "Travel expenses are paid within 30 days."),
    passage("policy", 9, "Parental leave is twelve months, of which two are reserved for the second parent."),
    passage("news", 1, "The new coffee machines have arrived."),
];

fn main() -> crossrank::Result<()> {
    let question = "How many vacation days can I take over into next year?";

    // A bi-encoder looks at all passages, a cross-encoder reads the five that are most similar. Loaded once; `&self` after.
    let cascade = Cascade::new(Embedder::bundled()?, Reranker::bundled()?);
    let options = CascadeOptions::new().candidates(5).ranking(RankOptions::new().top_n(3));
    let ranking = cascade.rerank_with(question, &PASSAGES, &options)?;

    let mut prompt = String::from("Answer from these passages alone, and cite them.\n\n");
    for (result, number) in ranking.iter().zip(1..) {
        let Passage { source, page, text } = &PASSAGES[result.index];
        let score = result.score.map_or("not read".to_owned(), |score| format!("{score:.3}"));
        println!("[{number}] {source}, p. {page}: score {score}, similarity {:.3}", result.similarity);
        prompt += &format!("[{number}] ({source}, p. {page}) {text}\n");
    }
    // Nothing is cut in silence: a passage that does not fit the model is in the report.
    for cut in ranking.truncated() {
        println!("{}: {} tokens were not read", PASSAGES[cut.index].source, cut.dropped_tokens);
    }
    prompt += &format!("\nQuestion: {question}\n");
    println!("\n{prompt}");
    Ok(())
}

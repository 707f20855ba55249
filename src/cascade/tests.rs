//! Cascades of models whose numbers stand in the texts.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;

/// Reads texts like `"0.5 2"`: a similarity with the query and a logit. A similarity of `x` cannot be embedded.
struct Similarity;

impl BiEncoder for Similarity {
    fn name(&self) -> String {
        "similarity".to_owned()
    }

    fn embed_query(&self, query: &str) -> Result<Vec<f32>> {
        match query {
            "bad" => Err(Error::new(ErrorKind::NonFinite, "text 0").with_document(0)),
            _ => Ok(vec![1.0, 0.0]),
        }
    }

    fn embed_documents(&self, documents: &[&str]) -> Result<Embeddings> {
        let row = |(index, text): (usize, &&str)| {
            let cosine = text.split_once(' ').unwrap().0.parse::<f32>();
            let cosine = cosine.map_err(|_| Error::new(ErrorKind::Inference, "no").with_document(index))?;
            Ok(vec![cosine, (1.0 - cosine * cosine).sqrt()])
        };
        let rows = documents.iter().enumerate().map(row).collect::<Result<Vec<_>>>()?;
        let cut = documents.iter().enumerate().filter(|(_, text)| text.ends_with("long"));
        let cut = cut.map(|(index, _)| TruncatedDocument::new(index, 5)).collect();
        Ok(Embeddings::from_rows(rows)?.with_truncated(cut))
    }
}

/// The logit of such a text, and which texts were read. A logit of `x` cannot be scored.
#[derive(Default)]
struct Logit {
    read: Mutex<Vec<String>>,
}

impl CrossEncoder for Logit {
    fn name(&self) -> String {
        "logit".to_owned()
    }

    fn score(&self, query: &str, documents: &[&str]) -> Result<PairScores> {
        if query == "spoilt" {
            return Err(Error::new(ErrorKind::Inference, "spoilt").with_document(documents.len() - 1));
        }
        self.read.lock().unwrap().extend(documents.iter().map(|text| (*text).to_owned()));
        let documents = if query == "miscounted" { &documents[1..] } else { documents };
        let pair = |(index, text): (usize, &&str)| match text.split(' ').nth(1).unwrap().parse::<f32>() {
            Ok(logit) => Ok(PairScore::new(logit, logit / 2.0)),
            Err(_) => Err(Error::new(ErrorKind::Inference, format!("text {index}")).with_document(index)),
        };
        let mut scores = PairScores::new(documents.iter().enumerate().map(pair).collect());
        let cut = documents.iter().enumerate().filter(|(_, text)| text.ends_with("long"));
        scores.truncated = cut.map(|(index, _)| TruncatedDocument::new(index, 7)).collect();
        Ok(scores)
    }
}

fn cascade() -> Cascade<Similarity, Logit> {
    Cascade::new(Similarity, Logit::default())
}

fn keep_going(candidates: usize) -> CascadeOptions {
    CascadeOptions::new().candidates(candidates).ranking(RankOptions::new().keep_going(true))
}

fn order(ranking: &CascadeRanking) -> Vec<usize> {
    ranking.iter().map(|result| result.index).collect()
}

/// Most similar first: 3, 1, 4, 0, 2.
const DOCUMENTS: [&str; 5] = ["0.2 9", "0.8 1", "0.1 8", "0.9 2", "0.5 4"];

#[test]
fn the_most_similar_are_read_and_the_others_follow() {
    let cascade = cascade();
    let ranking = cascade.rerank_with("q", &DOCUMENTS, &CascadeOptions::new().candidates(3)).unwrap();
    assert_eq!(order(&ranking), [4, 3, 1, 0, 2]);
    assert_eq!(ranking.candidates(), 3);
    assert_eq!(*cascade.cross_encoder().read.lock().unwrap(), ["0.8 1", "0.9 2", "0.5 4"]);
    let [first, .., last] = ranking.results() else { panic!() };
    assert_eq!((first.score, first.logit, first.similarity), (Some(2.0), Some(4.0), 0.5));
    assert_eq!((last.score, last.logit, last.similarity), (None, None, 0.1));
    assert_eq!(first.document, None);
}

#[test]
fn the_gap_decides_by_default() {
    let similarity = |i: u8| 0.9 - 0.001 * f32::from(i) - if i < 23 { 0.0 } else { 0.01 };
    let documents: Vec<String> = (0..100).map(|i| format!("{} {i}", similarity(i))).collect();
    let ranking = cascade().rerank("q", &documents).unwrap();
    assert_eq!((ranking.candidates(), ranking.len(), ranking.results()[0].index), (23, 100, 22));
    assert_eq!(cascade().rerank("q", &DOCUMENTS).unwrap().candidates(), 5);
}

#[test]
fn rank_options_are_obeyed() {
    let rank = |candidates: usize, options: RankOptions| {
        cascade().rerank_with("q", &DOCUMENTS, &CascadeOptions::new().candidates(candidates).ranking(options)).unwrap()
    };
    assert_eq!(order(&rank(3, RankOptions::new().top_n(2))), [4, 3]);
    assert_eq!(order(&rank(3, RankOptions::new().top_n(4))), [4, 3, 1, 0]);
    assert_eq!(order(&rank(3, RankOptions::new().top_n(0))), [0usize; 0]);
    let strict = rank(3, RankOptions::new().threshold(1.0));
    assert_eq!(order(&strict), [4, 3], "what has no score does not reach a threshold");
    assert_eq!(order(&rank(3, RankOptions::new().threshold(1.0).raw_scores(true))), [4, 3, 1]);
    let raw = rank(1, RankOptions::new().raw_scores(true).return_documents(true));
    assert_eq!((raw.results()[0].score, raw.results()[0].logit), (Some(2.0), Some(2.0)));
    let texts: Vec<_> = raw.into_results().into_iter().map(|result| result.document.unwrap()).collect();
    assert_eq!(texts, ["0.9 2", "0.8 1", "0.5 4", "0.2 9", "0.1 8"]);
}

#[test]
fn of_equal_similarities_the_callers_first_are_candidates() {
    let documents = ["0.5 1", "0.5 3", "0.5 1", "0.5 9", "0.5 9"];
    let ranking = cascade().rerank_with("q", &documents, &CascadeOptions::new().candidates(3)).unwrap();
    assert_eq!(order(&ranking), [1, 0, 2, 3, 4]);
}

#[test]
fn documents_that_fail_are_named_and_lose_no_others() {
    let documents = ["x 1", "0.3 3", "0.2 2 long", "0.9 NaN", "0.8 x", "0.7 1 long"];
    let bad_first = cascade().rerank_with("q", &documents, &CascadeOptions::new().candidates(4)).unwrap_err();
    assert_eq!((bad_first.kind(), bad_first.document()), (ErrorKind::Inference, Some(0)));
    let ranking = cascade().rerank_with("q", &documents, &keep_going(4)).unwrap();
    assert_eq!((order(&ranking), ranking.candidates()), (vec![1, 5, 2], 4));
    let failures: Vec<_> = ranking.failures().iter().map(|error| (error.document(), error.kind())).collect();
    let (inference, not_finite) = (ErrorKind::Inference, ErrorKind::NonFinite);
    assert_eq!(failures, [(Some(0), inference), (Some(3), not_finite), (Some(4), inference)]);
    assert!(ranking.failures()[1].to_string().contains("document 3"), "{}", ranking.failures()[1]);
    let chain = ranking.failures()[2].chain();
    assert_eq!(chain, "document 4 (counted from 0), as document 2 of the candidates, has no score: text 2");
    let cut = |cut: &[TruncatedDocument]| cut.iter().map(|cut| (cut.index, cut.dropped_tokens)).collect::<Vec<_>>();
    assert_eq!(cut(ranking.truncated()), [(5, 7)], "of the candidates");
    assert_eq!(cut(ranking.truncated_embeddings()), [(2, 5), (5, 5)]);

    let strict = cascade().rerank_with("q", &documents[1..], &CascadeOptions::new().candidates(4)).unwrap_err();
    assert_eq!((strict.kind(), strict.document()), (ErrorKind::NonFinite, Some(2)));
    let spoilt = cascade().rerank_with("spoilt", &DOCUMENTS, &CascadeOptions::new().candidates(2)).unwrap_err();
    assert_eq!(spoilt.document(), Some(3), "the second candidate");
    let none = cascade().rerank_with("q", &["x 1", "x 2"], &keep_going(4)).unwrap();
    assert_eq!((none.len(), none.candidates(), none.failures().len()), (0, 0, 2));
}

#[test]
fn errors_of_the_call() {
    let kind = |query: &str, options: &CascadeOptions| {
        let error = cascade().rerank_with(query, &DOCUMENTS, options).unwrap_err();
        (error.kind(), error.document())
    };
    assert_eq!(kind("q", &CascadeOptions::new().candidates(0)), (ErrorKind::Options, None));
    assert_eq!(kind("bad", &keep_going(1)), (ErrorKind::NonFinite, None), "the query is no document");
    assert_eq!(kind("miscounted", &keep_going(2)), (ErrorKind::Inference, None));
    let nothing = cascade().rerank("bad", &[""; 0]).unwrap();
    assert!(nothing.is_empty() && nothing.candidates() == 0);
    assert!(cascade().rerank_with("q", &[""; 0], &CascadeOptions::new().candidates(0)).is_err());
}

#[test]
fn embeddings_made_before() {
    let embeddings = Similarity.embed_documents(&DOCUMENTS).unwrap();
    let options = CascadeOptions::new().candidates(3);
    let cascade = cascade();
    let ranking = cascade.rerank_with_embeddings("q", &DOCUMENTS, &embeddings, &options).unwrap();
    assert_eq!(ranking.results(), cascade.rerank_with("q", &DOCUMENTS, &options).unwrap().results());
    let refused = |documents: &[&str], embeddings: &Embeddings, words: &str| {
        let error = cascade.rerank_with_embeddings("q", documents, embeddings, &options).unwrap_err();
        assert!(error.kind() == ErrorKind::Options && error.to_string().contains(words), "{error}");
    };
    refused(&DOCUMENTS[1..], &embeddings, "5 embeddings for 4 documents");
    refused(&["0.1 1"], &Embeddings::from_rows([vec![1.0; 3]]).unwrap(), "have 3 dimensions");
    let not_finite = Embeddings::from_rows([vec![0.0, 1.0], vec![f32::NAN, 1.0]]).unwrap();
    let error = cascade.rerank_with_embeddings("q", &DOCUMENTS[..2], &not_finite, &options).unwrap_err();
    assert_eq!((error.kind(), error.document()), (ErrorKind::NonFinite, Some(1)));
    assert!(cascade.rerank_with_embeddings("q", &[""; 0], &Embeddings::default(), &options).unwrap().is_empty());
}

#[test]
fn any_pointer_to_a_model_will_do() {
    fn check(cascade: &(impl Send + Sync), ranking: Result<CascadeRanking>) {
        let _ = cascade;
        assert_eq!(order(&ranking.unwrap()), [0, 2, 4, 3, 1]);
    }
    let (bi, cross) = (Similarity, Logit::default());
    let borrowed = Cascade::new(&bi as &dyn BiEncoder, &cross);
    check(&borrowed, borrowed.rerank("q", &DOCUMENTS));
    let shared: Cascade<Arc<dyn BiEncoder>, Box<dyn CrossEncoder>> =
        Cascade::new(Arc::new(Similarity), Box::new(Logit::default()));
    check(&shared, shared.rerank("q", &DOCUMENTS));
    assert_eq!(shared.cross_encoder().name(), "logit");
}

/// Few values, so that there are ties.
fn numbers() -> impl Strategy<Value = Vec<(i8, i8)>> {
    proptest::collection::vec((-4i8..4, -3i8..3), 0..40)
}

fn texts(numbers: &[(i8, i8)]) -> Vec<String> {
    numbers.iter().map(|(similarity, logit)| format!("{} {logit}", f32::from(*similarity) / 4.0)).collect()
}

proptest! {
    #[test]
    fn every_document_once_the_best_read_and_ties_in_order(numbers in numbers(), m in 1usize..50) {
        let documents = texts(&numbers);
        let ranking = cascade().rerank_with("q", &documents, &CascadeOptions::new().candidates(m)).unwrap();
        let found = order(&ranking);
        let mut sorted = found.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..documents.len()).collect::<Vec<_>>());

        let (read, unread) = found.split_at(m.min(documents.len()));
        prop_assert_eq!(ranking.candidates(), read.len());
        for (result, rank) in ranking.iter().zip(0..) {
            prop_assert_eq!(result.score.is_some(), rank < read.len());
            prop_assert_eq!(result.similarity, f32::from(numbers[result.index].0) / 4.0);
        }
        for a in read {
            for b in unread {
                prop_assert!(numbers[*a].0 > numbers[*b].0 || (numbers[*a].0 == numbers[*b].0 && a < b));
            }
        }
        prop_assert!(read.windows(2).all(|w| (-numbers[w[0]].1, w[0]) < (-numbers[w[1]].1, w[1])));
        prop_assert!(unread.windows(2).all(|w| (-numbers[w[0]].0, w[0]) < (-numbers[w[1]].0, w[1])));
    }

    #[test]
    fn with_all_documents_as_candidates_it_is_the_cross_encoders_ranking(numbers in numbers(), more in 0usize..9) {
        let documents = texts(&numbers);
        let options = RankOptions::new().return_documents(true);
        let texts: Vec<&str> = documents.iter().map(String::as_str).collect();
        let plain = Ranking::build(Logit::default().score("q", &texts).unwrap(), &texts, &options).unwrap();
        let m = (documents.len() + more).max(1);
        let options = CascadeOptions::new().candidates(m).ranking(options);
        let found = cascade().rerank_with("q", &documents, &options).unwrap();
        prop_assert_eq!(found.len(), plain.len());
        for (found, plain) in found.iter().zip(&plain) {
            prop_assert_eq!((found.index, found.score), (plain.index, Some(plain.score)));
            prop_assert_eq!(&found.document, &plain.document);
        }
    }

    #[test]
    fn top_n_is_the_beginning_of_all(numbers in numbers(), m in 1usize..50, n in 0usize..50) {
        let documents = texts(&numbers);
        let options = CascadeOptions::new().candidates(m);
        let all = cascade().rerank_with("q", &documents, &options).unwrap();
        let some = cascade().rerank_with("q", &documents, &options.ranking(RankOptions::new().top_n(n))).unwrap();
        prop_assert_eq!(some.results(), &all.results()[..n.min(all.len())]);
    }
}

//! What the engines do with texts, options and sources.

use crossrank::{
    Activation, Embedder, ErrorKind, LimitSource, ModelSource, RankOptions, Reranker, Truncation, TruncationSide,
};

use crate::fixtures::{self, Copy};

fn bert() -> Reranker {
    Reranker::from_dir(fixtures::path("bert-cross-encoder")).unwrap()
}

#[test]
fn engines_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Reranker>();
    shared::<Embedder>();
}

#[test]
fn no_documents_give_an_empty_ranking() {
    assert!(bert().rerank("query", &[""; 0]).unwrap().is_empty());
    assert!(Embedder::from_dir(fixtures::path("bert-embedder")).unwrap().embed(&[""; 0]).unwrap().is_empty());
}

#[test]
fn empty_and_blank_texts_are_scored() {
    let reranker = bert();
    for query in ["", "   ", "query"] {
        let ranking = reranker.rerank(query, &["", " \t\n", "text"]).unwrap();
        assert_eq!(ranking.len(), 3);
        assert!(ranking.iter().all(|result| result.score.is_finite()));
    }
}

#[test]
fn documents_may_be_strings_of_any_kind() {
    let reranker = bert();
    let borrowed = reranker.rerank("river", &["old", "library"]).unwrap().into_results();
    let owned = reranker.rerank("river", &["old".to_owned(), "library".to_owned()]).unwrap().into_results();
    let boxed: Vec<std::borrow::Cow<'_, str>> = vec!["old".into(), "library".into()];
    assert_eq!(borrowed, owned);
    assert_eq!(borrowed, reranker.rerank("river", &boxed).unwrap().into_results());
}

#[test]
fn the_best_are_returned_with_their_texts() {
    let documents = ["old", "library", "river", "bridge"];
    let all = bert().rerank("river", &documents).unwrap();
    let options = RankOptions::new().top_n(2).return_documents(true);
    let best = bert().rerank_with("river", &documents, &options).unwrap();
    assert_eq!(best.len(), 2);
    for (a, b) in best.iter().zip(&all) {
        assert_eq!((a.index, a.score), (b.index, b.score));
        assert_eq!(a.document.as_deref(), Some(documents[a.index]));
    }
    let threshold = all.results()[2].score;
    let above = bert().rerank_with("river", &documents, &RankOptions::new().threshold(threshold)).unwrap();
    assert_eq!(above.len(), 3);
}

#[test]
fn raw_scores_are_the_logits_behind_the_scores() {
    let (documents, options) = (["old", "library"], RankOptions::new().raw_scores(true));
    let scores = bert().rerank("river", &documents).unwrap();
    let logits = bert().rerank_with("river", &documents, &options).unwrap();
    for (score, logit) in scores.iter().zip(&logits) {
        assert_eq!(score.index, logit.index);
        assert!((score.score - 1.0 / (1.0 + (-logit.score).exp())).abs() < 1e-6);
    }
    let source = ModelSource::dir(fixtures::path("bert-cross-encoder"));
    let identity = Reranker::builder().model(source).activation(Activation::Identity).build().unwrap();
    assert_eq!(identity.rerank("river", &documents).unwrap().into_results(), logits.into_results());
}

#[test]
fn cut_documents_are_reported() {
    let long = "the old library is by the river ".repeat(40);
    let ranking = bert().rerank("old", &["short", &long]).unwrap();
    let [cut] = ranking.truncated() else { panic!("{:?}", ranking.truncated()) };
    assert_eq!((cut.index, cut.dropped_query_tokens, cut.at_least), (1, 0, false));
    // The query has 1 token, the pair 3 special ones, and the limit is 64.
    assert_eq!(cut.dropped_tokens, 40 * 7 - (64 - 1 - 3));
    let ranking = bert().rerank(&long, &["short"]).unwrap();
    assert!(ranking.truncated()[0].dropped_query_tokens > 0);
    assert_eq!(ranking.truncated()[0].dropped_tokens, 0);
}

#[test]
fn the_cut_side_can_be_chosen() {
    let source = ModelSource::dir(fixtures::path("bert-cross-encoder"));
    let left = Truncation::default().with_side(TruncationSide::Left);
    let left = Reranker::builder().model(source).truncation(left).build().unwrap();
    let (head, tail) = ("library ".repeat(100), "river ".repeat(100));
    let logit =
        |reranker: &Reranker, text: &str| reranker.score("bridge", &[text]).unwrap().scores[0].as_ref().unwrap().logit;
    let both = format!("{head}{tail}");
    assert_eq!(logit(&left, &both), logit(&left, &tail));
    assert_eq!(logit(&bert(), &both), logit(&bert(), &head));
}

#[test]
fn a_model_in_memory_is_the_same_model() {
    let folder = fixtures::path("bert-cross-encoder");
    let mut memory = ModelSource::memory();
    for name in ["model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"] {
        memory = memory.file(name, std::fs::read(folder.join(name)).unwrap());
    }
    let from_memory = Reranker::builder().model(memory).build().unwrap();
    let documents = ["old", "library"];
    assert_eq!(
        from_memory.rerank("river", &documents).unwrap().into_results(),
        bert().rerank("river", &documents).unwrap().into_results()
    );
    assert_eq!(from_memory.info().name, "in-memory model");
}

#[test]
fn an_engine_says_what_it_runs() {
    let info = bert().info().clone();
    assert_eq!(info.architecture.as_deref(), Some("BertForSequenceClassification"));
    assert_eq!((info.precision.as_str(), info.device), ("fp32", "CPU"));
    assert_eq!((info.max_length, info.output.as_str()), (64, "logits"));
    assert_eq!(info.inputs, ["input_ids", "attention_mask", "token_type_ids"]);
    let no_types = Reranker::from_dir(fixtures::path("bert-cross-encoder-no-types")).unwrap();
    assert_eq!(no_types.info().inputs, ["input_ids", "attention_mask"]);
    assert_eq!(no_types.info().activation, Some(Activation::Identity));
    let xlmr = Reranker::from_dir(fixtures::path("xlmr-cross-encoder")).unwrap();
    assert_eq!((xlmr.info().max_length, xlmr.info().max_length_source), (64, LimitSource::Positions));
    assert_eq!(xlmr.info().activation, Some(Activation::Sigmoid));
}

#[test]
fn the_label_of_several_can_be_chosen() {
    let nli = ModelSource::dir(fixtures::path("bert-nli"));
    let of = |name: &str| Reranker::builder().model(nli.clone()).label(name).build();
    let score = |name: &str| of(name).unwrap().rerank("a", &["b"]).unwrap().results()[0].score;
    let sum: f32 = ["contradiction", "entailment", "neutral"].into_iter().map(score).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    let error = of("sarcasm").unwrap_err();
    assert!(error.to_string().contains("contradiction, entailment, neutral"), "{error}");
}

#[test]
fn the_label_that_means_relevant_is_found_by_its_name() {
    let labelled = |names: serde_json::Value| {
        let fixture = Copy::of("bert-two-labels").set("config.json", "id2label", names);
        Reranker::from_dir(fixture.path()).map(|reranker| reranker.info().score_label.clone())
    };
    let label = |names| labelled(names).unwrap().unwrap();
    assert_eq!(label(serde_json::json!({"0": "entailment", "1": "not_entailment"})), "entailment");
    assert_eq!(label(serde_json::json!({"0": "irrelevant", "1": "Relevant"})), "Relevant");
    assert_eq!(label(serde_json::json!({"0": "LABEL_0", "1": "LABEL_1"})), "LABEL_1");
    let error = labelled(serde_json::json!({"0": "cats", "1": "dogs"})).unwrap_err();
    assert!(error.to_string().contains("cats, dogs"), "{error}");
}

/// A worker of the caller's pool that waits for the engine must not take up another job of that pool: here that job
/// would wait for the lock that the first one holds.
#[test]
fn an_engine_behind_a_lock_inside_the_callers_pool() {
    use rayon::prelude::*;
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let callers = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for threads in [None, Some(2)] {
            let engine = std::sync::LazyLock::new(|| {
                let builder = Reranker::builder().model(ModelSource::dir(fixtures::path("bert-cross-encoder")));
                let reranker = threads.map_or(builder.clone(), |n| builder.threads(n)).build().unwrap();
                let _ = reranker.rerank("old", &["river"; 20]).unwrap();
                reranker
            });
            callers.install(|| {
                (0..60).into_par_iter().for_each(|_| {
                    assert_eq!(engine.rerank("old", &["river", "library", "bridge"]).unwrap().len(), 3);
                })
            });
        }
        done.send(()).unwrap();
    });
    finished.recv_timeout(std::time::Duration::from_secs(120)).expect("a deadlock");
}

#[test]
fn a_long_query_with_long_documents() {
    let long = "the old library is by the river ".repeat(2000);
    let ranking = bert().rerank(&long, &vec![long.as_str(); 20]).unwrap();
    assert_eq!((ranking.len(), ranking.truncated().len()), (20, 20));
    assert!(ranking.truncated().iter().all(|cut| cut.dropped_query_tokens > 10_000 && cut.dropped_tokens > 10_000));
}

#[test]
fn the_declared_side_is_cut() {
    let fixture = Copy::of("bert-cross-encoder").set("tokenizer_config.json", "truncation_side", "left".into());
    let left = Reranker::from_dir(fixture.path()).unwrap();
    let (head, tail) = ("library ".repeat(100), "river ".repeat(100));
    let scores = left.score("bridge", &[format!("{head}{tail}"), tail]).unwrap().scores;
    assert_eq!(scores[0].as_ref().unwrap(), scores[1].as_ref().unwrap());
}

#[test]
fn impossible_options_are_refused() {
    let source = ModelSource::dir(fixtures::path("bert-cross-encoder"));
    let builder = || Reranker::builder().model(source.clone());
    for threads in [0, 1_000_000] {
        assert_eq!(builder().threads(threads).build().unwrap_err().kind(), ErrorKind::Options);
    }
    let error = builder().max_length(65).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Options);
    assert!(error.to_string().contains("65") && error.to_string().contains("64"), "{error}");
    assert_eq!(builder().max_length(40).build().unwrap().info().max_length_source, LimitSource::Caller);
}

#[test]
fn an_output_in_half_precision_is_read() {
    let half = Copy::of("bert-cross-encoder").with_graph("half-output.onnx");
    let reranker = Reranker::from_dir(half.path()).unwrap();
    let ranking = reranker.rerank_with("old", &["library"], &RankOptions::new().raw_scores(true)).unwrap();
    // The graph gives a thousandth of the sum of the ids: [CLS] old [SEP] library [SEP].
    let sum = (2 + 315 + 3 + 325 + 3) as f32 / 1000.0;
    assert!((ranking.results()[0].score - sum).abs() < 1e-3, "{:?}", ranking.results());
}

#[test]
fn a_score_that_is_not_finite_names_its_document_and_loses_no_other() {
    let fixture = Copy::of("bert-cross-encoder").with_graph("nan.onnx");
    let reranker = Reranker::from_dir(fixture.path()).unwrap();
    for bad in ["nan", "inf"] {
        let documents = ["library", bad, "river"];
        let error = reranker.rerank("old", &documents).unwrap_err();
        assert_eq!((error.kind(), error.document()), (ErrorKind::NonFinite, Some(1)));
        assert!(error.to_string().contains("document 1"), "{error}");
        let ranking = reranker.rerank_with("old", &documents, &RankOptions::new().keep_going(true)).unwrap();
        assert_eq!((ranking.len(), ranking.failures().len()), (2, 1));
        assert_eq!(ranking.failures()[0].document(), Some(1));
    }
}

#[test]
fn a_hundred_thousand_documents_in_one_call() {
    let documents: Vec<String> = (0..100_000).map(|i| format!("river {}", i % 7)).collect();
    let ranking = bert().rerank_with("river", &documents, &RankOptions::new().top_n(3)).unwrap();
    let indexes: Vec<usize> = ranking.iter().map(|result| result.index).collect();
    let first = indexes[0] % 7;
    assert_eq!(indexes, [first, first + 7, first + 14], "equal scores keep the caller's order");
}

#[test]
fn documents_of_five_megabytes() {
    let words = "the old library is by the river ".repeat(160_000);
    let one_word = "x".repeat(5_000_000);
    let cjk = "漢字".repeat(850_000);
    let ranking = bert().rerank("river", &[words.as_str(), &one_word, &cjk, "short"]).unwrap();
    assert_eq!(ranking.len(), 4);
    let cut: Vec<usize> = ranking.truncated().iter().filter(|cut| cut.at_least).map(|cut| cut.index).collect();
    assert_eq!(cut, [0, 1, 2], "what was left out is never silent");
}

#[test]
fn prompts_go_before_the_texts() {
    let prompts = serde_json::json!({"query": "query: ", "document": ""});
    let fixture = Copy::of("bert-embedder").set("config_sentence_transformers.json", "prompts", prompts);
    let embedder = Embedder::from_dir(fixture.path()).unwrap();
    let plain = embedder.embed(&["query: river", "river"]).unwrap();
    assert_eq!(embedder.embed_queries(&["river"]).unwrap().get(0), plain.get(0));
    assert_eq!(embedder.embed_documents(&["river"]).unwrap().get(0), plain.get(1));
}

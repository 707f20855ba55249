//! What the engines do with texts, options and sources.

use crossrank::{
    Activation, Embedder, EmbedderBuilder, ErrorKind, LimitSource, ModelSource, RankOptions, Reranker, Truncation,
    TruncationSide,
};

use crate::fixtures::{self, Copy};

fn bert() -> Reranker {
    Reranker::from_dir(fixtures::path("bert-cross-encoder")).unwrap()
}

/// ONNX Runtime learns the domain of this crate's operations from a process's first session, and not when two are first. So each
/// try is a process of its own: this test again, with a variable that says so.
#[test]
fn the_first_engines_may_be_loaded_at_the_same_time() {
    const CHILD: &str = "CROSSRANK_TEST_FIRST_ENGINES";
    if std::env::var_os(CHILD).is_some() {
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    Reranker::bundled().unwrap();
                });
            }
        });
        return;
    }
    let program = std::env::current_exe().unwrap();
    for _ in 0..8 {
        let mut child = std::process::Command::new(&program);
        child.args(["--exact", "engines::the_first_engines_may_be_loaded_at_the_same_time"]).env(CHILD, "1");
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
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

/// `model_input_names` may leave the types of tokens out: the model then has 0 for all, as in transformers.
#[test]
fn token_types_that_are_not_declared_are_zero() {
    let names = serde_json::json!(["input_ids", "attention_mask"]);
    let fixture = Copy::of("bert-cross-encoder").set("tokenizer_config.json", "model_input_names", names);
    let score = |reranker: Reranker| *reranker.score("old", &["library"]).unwrap().scores[0].as_ref().unwrap();
    let without = score(Reranker::from_dir(fixture.path()).unwrap());
    assert_ne!(without, score(Reranker::from_dir(fixtures::path("bert-cross-encoder")).unwrap()));
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
    // The graphs give a thousandth of the sum of the ids: [CLS] old [SEP] library [SEP].
    let sum = (2 + 315 + 3 + 325 + 3) as f32 / 1000.0;
    for (graph, tolerance) in [("half-output.onnx", 1e-3), ("bf16-output.onnx", 4e-3)] {
        let half = Copy::of("bert-cross-encoder").with_graph(graph);
        let reranker = Reranker::from_dir(half.path()).unwrap();
        let ranking = reranker.rerank_with("old", &["library"], &RankOptions::new().raw_scores(true)).unwrap();
        assert!((ranking.results()[0].score - sum).abs() < tolerance, "{graph}: {:?}", ranking.results());
    }
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

/// What sentence-transformers calls `truncate_dim`, with vectors of length 1 where the model makes them so.
#[test]
fn the_first_dimensions_are_kept() {
    let source = ModelSource::dir(fixtures::path("bert-embedder"));
    let builder = || Embedder::builder().model(source.clone());
    let texts = ["the old library", "a bowl of soup"];
    let unit = |row: &[f32]| {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter().map(|x| x / length).collect::<Vec<_>>()
    };
    let whole = builder().build().unwrap();
    let full = whole.embed(&texts).unwrap();
    let raw = builder().normalize(false).build().unwrap().embed(&texts).unwrap();
    for n in [1, 8, 32] {
        let short = builder().dimensions(n).build().unwrap();
        assert_eq!((short.info().dimensions, short.info().full_dimensions), (Some(n), Some(32)));
        assert!(short.info().normalized);
        let short = short.embed(&texts).unwrap();
        let unscaled = builder().dimensions(n).normalize(false).build().unwrap().embed(&texts).unwrap();
        for row in 0..texts.len() {
            let expected = unit(&full.get(row).unwrap()[..n]);
            assert!(short.get(row).unwrap().iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
            assert_eq!(unscaled.get(row).unwrap(), &raw.get(row).unwrap()[..n]);
        }
    }
    for n in [0, 33] {
        let error = builder().dimensions(n).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Options);
        assert!(error.to_string().contains(&format!("{n} dimensions are asked for, and the model has 32")), "{error}");
    }
}

/// `truncate_dim` of the folder cuts after the normalisation, and a number of the caller's has precedence.
#[test]
fn the_declared_number_of_dimensions_is_kept() {
    let source = ModelSource::dir(fixtures::path("arctic-embedder"));
    let info = |builder: EmbedderBuilder| builder.build().unwrap().info().clone();
    let declared = info(Embedder::builder().model(source.clone()));
    assert_eq!((declared.dimensions, declared.full_dimensions, declared.normalized), (Some(20), Some(32), false));
    let caller = info(Embedder::builder().model(source.clone()).dimensions(24));
    assert_eq!((caller.dimensions, caller.normalized), (Some(24), true));
    let scaled = Embedder::builder().model(source).normalize(true).build().unwrap();
    assert!(scaled.info().normalized);
    let length: f32 = scaled.embed_query("river").unwrap().iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5, "{length}");
}

#[test]
fn modules_after_the_pooling_are_reported() {
    let embedder = Embedder::from_dir(fixtures::path("embeddinggemma")).unwrap();
    let info = embedder.info();
    assert_eq!(info.modules, ["Dense 32 to 48, Identity (2_Dense)", "Dense 48 to 32, Identity (3_Dense)"]);
    assert!(info.files.iter().any(|file| file.name == "3_Dense/model.safetensors"));
    let labse = Embedder::from_dir(fixtures::path("labse-embedder")).unwrap();
    assert_eq!(labse.info().modules, ["Dense 32 to 20, Tanh (2_Dense)", "Dense 20 to 24, Gelu (3_Dense)"]);
    let nomic = Embedder::from_dir(fixtures::path("nomic-embedder")).unwrap();
    assert_eq!(nomic.info().modules, ["LayerNorm (2_LayerNorm)"]);
}

/// A graph that pools has the modules after it inside, if its output is as wide as theirs.
#[test]
fn a_graph_that_pools_has_its_modules_inside() {
    let dense = |width: u64| {
        let module = |n: usize, path: &str, class: &str| serde_json::json!({"idx": n, "path": path, "type": class});
        let modules = serde_json::json!([
            module(0, "", "sentence_transformers.models.Transformer"),
            module(1, "1_Pooling", "sentence_transformers.models.Pooling"),
            module(2, "2_Dense", "sentence_transformers.models.Dense"),
        ]);
        let fixture = Copy::of("bert-embedder-pooled").write("modules.json", modules.to_string());
        let from = if width == 32 { "embeddinggemma/3_Dense" } else { "embeddinggemma/2_Dense" };
        std::fs::create_dir(fixture.path().join("2_Dense")).unwrap();
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(fixtures::path(from).join(name), fixture.path().join("2_Dense").join(name)).unwrap();
        }
        Embedder::from_dir(fixture.path())
    };
    let inside = dense(32).unwrap();
    assert!(inside.info().modules.is_empty());
    let plain = Embedder::builder().model(ModelSource::dir(fixtures::path("bert-embedder-pooled"))).normalize(false);
    assert_eq!(inside.embed(&["river"]).unwrap(), plain.build().unwrap().embed(&["river"]).unwrap());
    let outside = dense(48).unwrap_err();
    assert!(
        outside.to_string().contains("gives 32 dimensions") && outside.to_string().contains("gives 48"),
        "{outside}"
    );
}

/// As in sentence-transformers, the default prompt is for texts that are neither queries nor documents.
#[test]
fn the_default_prompt_stands_in_for_no_other() {
    let config = "config_sentence_transformers.json";
    let prompts = serde_json::json!({"search": "search: ", "corpus": "corpus: ", "none": null});
    let fixture =
        Copy::of("bert-embedder").set(config, "prompts", prompts).set(config, "default_prompt_name", "search".into());
    let embedder = Embedder::from_dir(fixture.path()).unwrap();
    let plain = Embedder::from_dir(fixtures::path("bert-embedder")).unwrap();
    let plain = plain.embed(&["search: river", "river", "corpus: river"]).unwrap();
    assert_eq!(embedder.embed(&["river"]).unwrap().get(0), plain.get(0));
    assert_eq!(embedder.embed_queries(&["river"]).unwrap().get(0), plain.get(1));
    assert_eq!(embedder.embed_documents(&["river"]).unwrap().get(0), plain.get(2));
}

/// Without modules.json: the mean, and for a language model that only looks back the last token.
#[test]
fn the_pooling_that_is_assumed() {
    let pooling = |architecture: &str, is_causal: bool| {
        let fixture = Copy::of("bert-embedder")
            .remove("modules.json")
            .set("config.json", "architectures", serde_json::json!([architecture]))
            .set("config.json", "is_causal", is_causal.into());
        Embedder::from_dir(fixture.path()).unwrap().info().pooling.clone().unwrap()
    };
    assert!(pooling("Qwen3Model", true).starts_with("mean (assumed"));
    assert!(pooling("Qwen3ForCausalLM", true).starts_with("lasttoken (assumed"));
    assert!(pooling("Qwen3ForCausalLM", false).starts_with("mean (assumed"));
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

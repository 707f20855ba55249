//! The integration tests, in one binary.
//!
//! They run small real ONNX models (`tests/fixtures`, made by its `make.py` with the reference libraries, whose numbers
//! are stored beside them) and the bundled models. Nothing needs a network: the Hub is a small server of our own.

mod bad_models;
mod bundled;
mod cli;
mod determinism;
mod embed;
mod encoder_decoders;
mod engines;
mod eval;
mod experiment;
mod fixtures;
mod html;
mod hub;
mod hub_server;
mod jobs;
mod killed;
mod language_models;
mod late_interaction;
mod long_documents;
mod precision;
mod readme;
mod reference;
mod services;
mod tables;
mod untrusted;

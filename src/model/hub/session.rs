//! One use of a model: whether the cache can answer or the Hub must be asked, and fetching what a plan misses.
//!
//! A commit that is recorded in the cache is never asked for. A branch or tag is, unless the network is out of bounds; if
//! nobody answers, the commit that it was at last stands in, and the listener is told.

use std::path::Path;

use super::HubModel;
use super::cache::Cache;
use super::download::Download;
use super::events::{HubEvent, Listener};
use super::http::{Client, Failure};
use super::listing::{self, Listing, RepositoryFile};
use super::name::{Repository, Revision};
use super::plan::{self, HubFile, HubPlan};
use super::settings::Settings;
use super::verify::{self, VerifiedFile};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Weights;
use crate::model::choice::FileChoice;
use crate::model::graph::GraphFacts;

/// A model whose names are checked, with its part of the cache.
pub(super) struct Session<'a> {
    settings: Settings,
    repository: Repository,
    revision: Revision,
    cache: Cache,
    listener: &'a Listener,
}

/// A plan, and what it was made of.
struct Prepared {
    plan: HubPlan,
    files: Vec<RepositoryFile>,
    listing: Listing,
    /// The listing is the Hub's, and may be recorded.
    is_asked: bool,
}

impl<'a> Session<'a> {
    pub(super) fn open(model: &'a HubModel) -> Result<Self> {
        let (repository, revision) = model.names()?;
        let settings = Settings::new(model)?;
        let cache = Cache::new(&settings.cache, &repository);
        Ok(Self { settings, repository, revision, cache, listener: &model.listener })
    }

    /// What would be fetched.
    pub(super) fn plan(&self, choice: &FileChoice) -> Result<HubPlan> {
        let Prepared { mut plan, listing, is_asked, .. } = self.prepare(choice)?;
        if !plan.has_onnx() {
            return Ok(plan);
        }
        let besides = external_data(&plan)?;
        if !besides.is_empty() {
            let choice = FileChoice { besides, ..choice.again(plan.onnx_files()) };
            plan = self.planned(listing, &choice, is_asked)?.plan;
        }
        plan.may_need.clear();
        Ok(plan)
    }

    /// Fetches what is missing.
    pub(super) fn pull(&self, choice: &FileChoice) -> Result<HubPlan> {
        let mut plan = self.fetch(self.prepare(choice)?)?;
        let besides = external_data(&plan)?;
        if besides.is_empty() {
            plan.may_need.clear();
            return Ok(plan);
        }
        // Some exporters give external data names of their own, which only the ONNX file tells.
        let choice = FileChoice { besides, ..choice.again(plan.onnx_files()) };
        plan = self.fetch(self.prepare(&choice)?)?;
        plan.may_need.clear();
        Ok(plan)
    }

    /// Checks what the cache has of the revision.
    pub(super) fn verify(&self) -> Result<Vec<VerifiedFile>> {
        match self.cache.commit(&self.revision).filter(|commit| self.cache.snapshot(commit).is_dir()) {
            Some(commit) => verify::verify(&self.cache, &commit),
            None => Err(self.not_cached("nothing of it can be checked")),
        }
    }

    fn client(&self) -> Result<Client<'_>> {
        Client::new(&self.settings, &*self.listener.0)
    }

    /// Finds out which files are needed and which are there.
    fn prepare(&self, choice: &FileChoice) -> Result<Prepared> {
        let commit = self.cache.commit(&self.revision);
        // A commit never changes: what was recorded of it is still so.
        if let Some(listing) = self.revision.commit().and_then(|commit| self.cache.recorded(commit)) {
            return self.planned(listing, choice, false);
        }
        if self.settings.offline {
            let prepared = commit.and_then(|commit| self.prepare_from_cache(&commit, choice));
            return prepared
                .unwrap_or_else(|| Err(self.not_cached("and the network is out of bounds (HF_HUB_OFFLINE)")));
        }
        let client = self.client()?;
        let error = match self.ask(&client, choice) {
            Ok(prepared) => return Ok(prepared),
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::Unreachable(error)) => error,
        };
        let cached = commit.and_then(|commit| self.prepare_from_cache(&commit, choice)?.ok());
        let Some(prepared) = cached.filter(|prepared| prepared.plan.is_cached()) else { return Err(error) };
        let commit = prepared.plan.commit();
        tracing::warn!(error = %error.chain(), commit, "the Hub cannot be reached: the cache is used");
        (self.listener.0)(&HubEvent::Unreachable { reason: &error.chain(), commit });
        Ok(prepared)
    }

    /// Asks the Hub.
    fn ask(&self, client: &Client<'_>, choice: &FileChoice) -> Result<Prepared, Failure> {
        let mut listing = Listing::ask(client, &self.repository, &self.revision)?;
        let (_, needed) = plan::needed(&listing, &self.repository, choice)?;
        let commit = listing.commit.clone();
        for file in &mut listing.files {
            let is_known = file.size.is_some() && file.hash.is_some();
            if !is_known && needed.iter().any(|needed| needed.name == file.name) {
                listing::ask_file(client, &self.repository, &commit, file)?;
            }
        }
        Ok(self.planned(listing, choice, true)?)
    }

    /// What the cache knows of a commit.
    fn prepare_from_cache(&self, commit: &str, choice: &FileChoice) -> Option<Result<Prepared>> {
        if let Some(listing) = self.cache.recorded(commit) {
            return Some(self.planned(listing, choice, false));
        }
        let listing = self.cache.listed(commit)?;
        Some(self.planned(listing, choice, false).map_err(|error| {
            let message = format!("of {} only a part is in the cache {}", self.repository, self.cache.root().display());
            Error::new(error.kind(), message).with_source(error)
        }))
    }

    fn planned(&self, listing: Listing, choice: &FileChoice, is_asked: bool) -> Result<Prepared> {
        let (onnx_files, files) = plan::needed(&listing, &self.repository, choice)?;
        let commit = listing.commit.clone();
        let look_up = |file: &RepositoryFile| HubFile::look_up(&self.cache, &commit, file);
        let may_need = plan::may_need(&listing, &onnx_files, &files).map(look_up).collect();
        let plan = HubPlan {
            repository: self.repository.to_string(),
            revision: self.revision.to_string(),
            folder: self.cache.snapshot(&commit),
            onnx_files,
            files: files.iter().map(look_up).collect(),
            may_need,
            free: free_space(self.cache.root()),
            commit,
        };
        Ok(Prepared { plan, files, listing, is_asked })
    }

    /// Fetches what a plan misses.
    fn fetch(&self, prepared: Prepared) -> Result<HubPlan> {
        let Prepared { mut plan, files, listing, is_asked } = prepared;
        let commit = plan.commit.clone();
        let is_cached = plan.is_cached();
        if !is_cached {
            if self.settings.offline {
                let missing: Vec<&str> =
                    plan.files.iter().filter(|file| !file.is_cached).map(|file| file.name.as_str()).collect();
                let what = format!("and the network is out of bounds (HF_HUB_OFFLINE): missing {}", missing.join(", "));
                return Err(self.not_cached(&what));
            }
            plan.check_space()?;
            self.cache.prepare()?;
            (self.listener.0)(&HubEvent::Plan(&plan));
            let client = self.client()?;
            let download = Download {
                client: &client,
                cache: &self.cache,
                repository: &self.repository,
                commit: &commit,
                report: &*self.listener.0,
            };
            for (file, planned) in files.iter().zip(&mut plan.files) {
                if !planned.is_cached {
                    download.fetch(file)?;
                    (planned.cached, planned.is_cached) = (planned.size, true);
                }
            }
        }
        files.iter().try_for_each(|file| self.cache.link(&commit, file))?;
        if is_asked {
            match self.cache.record_fetched(&self.revision, &listing) {
                // A complete cache may be one that nobody can write to.
                Err(error) if is_cached => tracing::debug!(error = %error.chain(), "the listing is not recorded"),
                recorded => recorded?,
            }
        }
        Ok(plan)
    }

    fn not_cached(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::Hub,
            format!(
                "{}@{} is not in the cache {}, {why}. Where there is a network, fetch it with `crossrank models pull \
                 hub:{}@{}`",
                self.repository,
                self.revision,
                self.cache.root().display(),
                self.repository,
                self.revision
            ),
        )
    }
}

/// The free bytes of the disk that a folder is, or will be, on.
fn free_space(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.is_dir())?;
    fs4::available_space(existing).ok()
}

/// The external data that the plan's ONNX files name and the plan has not, by their names in the repository.
fn external_data(plan: &HubPlan) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for onnx_file in plan.onnx_files() {
        let weights = Weights::File(plan.folder().join(onnx_file));
        let facts = GraphFacts::read(&weights, plan.repository())?;
        let folder = onnx_file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let in_repository = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let is_new = |name: &String| plan.files().iter().all(|file| file.name != *name);
        missing.extend(facts.external().map(in_repository).filter(is_new));
    }
    Ok(missing)
}

//! Models of Hugging Face's Hub by their names. Files are in the cache that Python's huggingface_hub has
//! too; what is in it works without a network.

mod choice;
mod converted;
mod download;
mod listing;
mod lock;
mod refusal;
mod settings;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use clip_wasm::convert::COMPANIONS;
use clip_wasm::error::{Error, ErrorKind, Result};
use clip_wasm::{Limit, Limits};
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use serde_json::Value as Json;
use ureq::Agent;
use ureq::config::{AutoHeaderValue, RedirectAuthHeaders};

use crate::hub_name::{HubModel, is_checkpoint, is_gguf};
use crate::web;
use listing::{File, Repository, is_commit};
use settings::Settings;

pub struct Hub {
    settings: Settings,
    cache: Cache,
    api: Api,
    /// For files. The token is for the Hub's host alone, which redirects to others.
    agent: Agent,
    limits: Limits,
}

impl Hub {
    /// # Errors
    /// `invalid_input` if the environment is invalid.
    pub fn from_env(limits: &Limits) -> Result<Self> {
        let settings = Settings::from_env()?;
        let cache = Cache::new(settings.cache.clone());
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.clone())
            .with_user_agent("clip-wasm", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let agent = Agent::config_builder()
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(AutoHeaderValue::from(web::user_agent()))
            // Compressed, the bytes of a file would have other places.
            .accept_encoding(AutoHeaderValue::from("identity"))
            .build()
            .into();
        Ok(Self { settings, cache, api, agent, limits: *limits })
    }

    /// The address of the Hub, or of its mirror.
    pub fn endpoint(&self) -> &str {
        &self.settings.endpoint
    }

    /// The path of a model as a GGUF: the repository's own, or what its checkpoint is converted to.
    ///
    /// # Errors
    /// Those of the Hub, of the choice of a file, and of converting.
    pub fn gguf(&self, model: &HubModel, file_type: Option<&str>) -> Result<PathBuf> {
        let found = self.find(model, |repository| match &model.file {
            Some(path) => repository.expect(path),
            None => choice::choose(repository, file_type),
        })?;
        let path = match found.file() {
            file if is_checkpoint(&file.path) => self.converted(&found, file_type)?,
            file => self.fetch(&found, file)?,
        };
        self.note(model, &found)?;
        Ok(path)
    }

    /// The path of a checkpoint's weights, or of their index, with what belongs to them beside it.
    ///
    /// # Errors
    /// As [`Hub::gguf`], and `invalid_input` for a repository without a checkpoint.
    pub fn checkpoint(&self, model: &HubModel) -> Result<PathBuf> {
        let found = self.find(model, |repository| match &model.file {
            Some(path) => repository.expect(path),
            None => {
                choice::checkpoint(repository).map_or_else(|| choice::choose(repository, None), Ok)
            }
        })?;
        if is_gguf(&found.path) {
            let message = format!(
                "{}/{} is a GGUF already, so there is nothing to convert; give its name to `embed --model`",
                model.repository, found.path
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let path = self.fetch_checkpoint(&found)?;
        self.note(model, &found)?;
        Ok(path)
    }

    /// Asks the Hub what a repository has, and chooses a file. Without an answer, what the cache has of the
    /// repository is enough.
    fn find(
        &self,
        model: &HubModel,
        choose: impl Fn(&Repository) -> Result<&File>,
    ) -> Result<Found> {
        let chosen = |repository: Repository, refusal| {
            let path = choose(&repository)?.path.clone();
            Ok(Found { repository, path, refusal })
        };
        let refusal = match self.ask(model) {
            Ok(repository) => return chosen(repository, None),
            Err(error) => error,
        };
        if !matches!(refusal.kind(), ErrorKind::Network | ErrorKind::HttpStatus) {
            return Err(refusal);
        }
        let Some(repository) = self.cached(model) else { return Err(refusal) };
        let message = refusal.to_string();
        let Ok(found) = chosen(repository, Some(message)) else { return Err(refusal) };
        if !self.settings.is_offline {
            let commit = &found.repository.commit;
            eprintln!("{refusal}; using what is stored of {} ({commit})", model.repository);
        }
        Ok(found)
    }

    /// The Hub's listing.
    fn ask(&self, model: &HubModel) -> Result<Repository> {
        let HubModel { repository: name, revision, .. } = model;
        if self.settings.is_offline {
            let message = format!(
                "{name} is not stored at this revision ({revision}) in {}, and HF_HUB_OFFLINE forbids to ask the Hub",
                self.settings.cache.display()
            );
            return Err(Error::new(ErrorKind::Network, message));
        }
        let repo = repo(name, revision);
        let url = format!("{}/api/{}", self.endpoint(), repo.api_url());
        let request = self.api.repo(repo).info_request().query("blobs", "true");
        let response = web::call(request, &url)?;
        if !response.status().is_success() {
            return Err(self.refusal(&response, &url, name));
        }
        let bytes = web::read(response, &url, &self.limits, Limit::JsonBytes)?;
        Repository::parse(name, &bytes, &url, self.endpoint())
    }

    /// What is stored of a revision: files of the Hub, and checkpoints that were converted.
    fn cached(&self, model: &HubModel) -> Option<Repository> {
        let HubModel { repository: name, revision, .. } = model;
        let commit = if is_commit(revision) {
            revision.clone()
        } else {
            let folder = self.settings.cache.join(repo(name, revision).folder_name());
            fs::read_to_string(folder.join("refs").join(revision)).ok()?.trim().to_owned()
        };
        let commit = Some(commit).filter(|commit| is_commit(commit))?;
        let snapshot = self.cache_repo(name, &commit).pointer_path(&commit);
        let mut repository = Repository::cached(name, &commit, &snapshot);
        for path in self.converted_paths(&repository) {
            if repository.file(&path).is_none() {
                repository.files.push(File { path, size: None, blob: None, sha256: None });
            }
        }
        (!repository.files.is_empty()).then_some(repository)
    }

    /// Fetches the weights that were chosen, all their shards, and the files beside them.
    fn fetch_checkpoint(&self, found: &Found) -> Result<PathBuf> {
        let Found { repository, path, .. } = found;
        let folder =
            path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        for name in COMPANIONS {
            let is_instead = name == "vocab.json"
                && repository.file(&format!("{folder}tokenizer.json")).is_some();
            match repository.file(&format!("{folder}{name}")) {
                Some(file) if !is_instead => {
                    let within = self.limits.check(Limit::JsonBytes, file.size.unwrap_or(0));
                    within.map_err(|error| error.context(&file.path))?;
                    self.fetch(found, file)?;
                }
                _ => {}
            }
        }
        let weights = self.fetch(found, found.file())?;
        if path.ends_with(".json") {
            let bytes = fs::read(&weights)?;
            for name in shards(&bytes) {
                let shard = repository.file(&format!("{folder}{name}")).ok_or_else(|| {
                    let message = format!("{path} names a file that is not there: {name}");
                    Error::new(ErrorKind::MalformedModel, message).context(&repository.name)
                })?;
                self.fetch(found, shard)?;
            }
        }
        Ok(weights)
    }

    /// Notes which commit the revision is, for when there is no network.
    fn note(&self, model: &HubModel, found: &Found) -> Result<()> {
        if found.refusal.is_some() || is_commit(&model.revision) {
            return Ok(());
        }
        let repo = self.cache_repo(&model.repository, &model.revision);
        Ok(repo.create_ref(&found.repository.commit)?)
    }

    fn cache_repo(&self, name: &str, revision: &str) -> CacheRepo {
        self.cache.repo(repo(name, revision))
    }
}

/// A file of a repository that was chosen.
pub struct Found {
    repository: Repository,
    path: String,
    /// Why the Hub has not been asked, or did not answer.
    refusal: Option<String>,
}

impl Found {
    fn file(&self) -> &File {
        self.repository.file(&self.path).expect("it was chosen from these files")
    }
}

fn repo(name: &str, revision: &str) -> Repo {
    Repo::with_revision(name.into(), RepoType::Model, revision.into())
}

/// The files that an index names. What else it may say is checked when they are converted.
fn shards(index: &[u8]) -> BTreeSet<String> {
    let index: Json = serde_json::from_slice(index).unwrap_or_default();
    let map = index["weight_map"].as_object();
    let names = map.into_iter().flatten().filter_map(|(_, file)| file.as_str());
    names.map(str::to_owned).collect()
}

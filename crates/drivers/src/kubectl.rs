//! Asks and changes a Kubernetes cluster through the operator's own `kubectl`, with its rights and its kubeconfig.
//!
//! In: words of `kubectl`, and what it reads. Out: objects as JSON, or an error in the cluster's own words with what to do.
//! Every call names the namespace. What may be secret goes through standard input, never through arguments.
//!
//! It never chooses an object. Read next: `services/kubernetes.rs`, `kubernetes.rs`.

pub(crate) mod secret;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use muster_types::{Explain, Kind, event::Watcher, script::is_object_name};
use serde_json::Value;

use crate::{
    DriverError,
    command::{Ended, Invocation},
    services::line,
};

/// How long one question or change may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// A namespace of many thousand objects fits in it.
const OUTPUT_BYTES_MAX: usize = 512 << 20;
/// As whom Muster changes objects.
pub(crate) const MANAGER: &str = "--field-manager=muster";

const KNOWN: &[(&str, Kind, &str)] = &[
    ("(notfound)", Kind::NotFound, "list what is there: `kubectl get all --namespace NAMESPACE`"),
    ("not found", Kind::NotFound, "list what is there: `kubectl get all --namespace NAMESPACE`"),
    (
        "(forbidden)",
        Kind::Unavailable,
        "ask for the right: `kubectl auth can-i --list --namespace NAMESPACE`",
    ),
    ("unauthorized", Kind::Unavailable, "log in again; `kubectl auth whoami` shows as whom"),
    ("must be logged in", Kind::Unavailable, "log in again; `kubectl auth whoami` shows as whom"),
    ("(conflict)", Kind::Conflict, "somebody else changes it too: look with `kubectl get`, and do it again"),
    ("object has been modified", Kind::Conflict, "somebody else changes it too: look, and do it again"),
    ("context was not found", Kind::Config, "list the contexts: `kubectl config get-contexts`"),
    ("does not exist", Kind::Config, "list the contexts: `kubectl config get-contexts`"),
    ("connection to the server", Kind::Unavailable, "see whether it answers: `kubectl cluster-info`"),
    ("unable to connect to the server", Kind::Unavailable, "see whether it answers: `kubectl cluster-info`"),
    ("couldn't get current server", Kind::Unavailable, "see whether it answers: `kubectl cluster-info`"),
];

/// One namespace of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    program: PathBuf,
    context: Option<String>,
    kubeconfig: Option<PathBuf>,
    pub(crate) namespace: String,
}

impl Kubectl {
    /// Makes one; asks nobody.
    ///
    /// # Errors
    /// `Config`: the namespace is empty or no name.
    pub(crate) fn new(
        owner: &str,
        namespace: &str,
        context: Option<&String>,
        kubeconfig: Option<&PathBuf>,
        kubectl: Option<&PathBuf>,
    ) -> Result<Self, DriverError> {
        if !is_object_name(namespace) {
            let message = format!("{owner} has no namespace: `{namespace}` is no name of one");
            return Err(DriverError::new(Kind::Config, message).with_hint(
                "name it: `namespace: shop`; that of the current context may be another tomorrow",
            ));
        }
        Ok(Self {
            program: kubectl.cloned().unwrap_or_else(|| "kubectl".into()),
            context: context.cloned(),
            kubeconfig: kubeconfig.cloned(),
            namespace: namespace.to_owned(),
        })
    }

    /// Returns the whole command.
    pub(crate) fn argv(&self, words: &[&str]) -> Vec<String> {
        let mut argv = vec![self.program.to_string_lossy().into_owned()];
        if let Some(kubeconfig) = &self.kubeconfig {
            argv.push(format!("--kubeconfig={}", kubeconfig.display()));
        }
        if let Some(context) = &self.context {
            argv.push(format!("--context={context}"));
        }
        argv.push(format!("--namespace={}", self.namespace));
        argv.extend(words.iter().map(|&word| word.to_owned()));
        argv
    }

    /// Returns the command as one line for a shell.
    pub(crate) fn line(&self, words: &[&str]) -> String {
        line(&self.argv(words))
    }

    /// Runs `kubectl`, whatever its exit code.
    ///
    /// # Errors
    /// It is not there, does not end in time, or is stopped.
    pub(crate) fn call(
        &self,
        words: &[&str],
        input: Option<&str>,
        within: Duration,
        watcher: &dyn Watcher,
    ) -> Result<Ended, DriverError> {
        let mut invocation = Invocation::new(self.argv(words), within);
        invocation.output_bytes_max = OUTPUT_BYTES_MAX;
        invocation.input = input.map(|text| text.as_bytes().to_vec());
        invocation.run(watcher).map_err(|error| {
            let hint = match error.kind() {
                Kind::NotFound => {
                    Some("install kubectl, or name it: `kubectl: /usr/local/bin/kubectl`".into())
                }
                _ => error.hint().map(|hint| hint.0),
            };
            let made = DriverError::new(error.kind(), error.to_string());
            match hint {
                Some(hint) => made.with_hint(hint),
                None => made,
            }
        })
    }

    /// Runs `kubectl`, which must succeed, and returns its whole standard output.
    ///
    /// # Errors
    /// In the cluster's own words.
    pub(crate) fn run(
        &self,
        what: &str,
        words: &[&str],
        input: Option<&str>,
        watcher: &dyn Watcher,
    ) -> Result<String, DriverError> {
        let ended = self.call(words, input, ANSWER_WITHIN, watcher)?;
        if !ended.is_success() {
            return Err(self.refused(what, &ended));
        }
        whole(what, &ended)
    }

    /// Makes the error of a call that failed.
    pub(crate) fn refused(&self, what: &str, ended: &Ended) -> DriverError {
        let said = ended.last_lines(3).replace('\n', "; ");
        let known = said.to_lowercase();
        let message = format!("cannot {what}: {said}");
        match KNOWN.iter().find(|(part, ..)| known.contains(part)) {
            Some((_, kind, hint)) => {
                DriverError::new(*kind, message).with_hint(hint.replace("NAMESPACE", &self.namespace))
            }
            None => DriverError::new(Kind::Unavailable, message)
                .with_hint("do it by hand with kubectl to see more of the reason"),
        }
    }

    /// Returns an object, such as `deployment/api`; `None` when it is not there.
    ///
    /// # Errors
    /// In the cluster's own words.
    pub(crate) fn get(&self, object: &str, watcher: &dyn Watcher) -> Result<Option<Value>, DriverError> {
        let what = format!("read {object} in namespace {}", self.namespace);
        let text = self.run(&what, &["get", object, "--output=json", "--ignore-not-found"], None, watcher)?;
        if text.trim().is_empty() { Ok(None) } else { parsed(&what, &text).map(Some) }
    }

    /// Returns the objects of a kind, narrowed by a selector of labels; empty: all.
    ///
    /// # Errors
    /// In the cluster's own words.
    pub(crate) fn list(
        &self,
        kind: &str,
        labels: &str,
        watcher: &dyn Watcher,
    ) -> Result<Vec<Value>, DriverError> {
        let what = format!("list {kind} in namespace {}", self.namespace);
        let selector = format!("--selector={labels}");
        let mut words = vec!["get", kind, "--output=json"];
        if !labels.is_empty() {
            words.push(&selector);
        }
        let list = parsed(&what, &self.run(&what, &words, None, watcher)?)?;
        Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Changes an object by a patch that is no secret; `how`: `merge`, `json`.
    ///
    /// # Errors
    /// In the cluster's own words; `Conflict`: it has changed since the version that the patch names.
    pub(crate) fn patch(
        &self,
        object: &str,
        how: &str,
        patch: &Value,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        let what = format!("change {object} in namespace {}", self.namespace);
        let (how, patch) = (format!("--type={how}"), format!("--patch={patch}"));
        self.run(&what, &["patch", object, &how, &patch, MANAGER], None, watcher).map(drop)
    }

    /// Changes an object by a patch that may hold a secret.
    ///
    /// # Errors
    /// As [`Self::patch`].
    pub(crate) fn patch_secretly(
        &self,
        object: &str,
        how: &str,
        patch: &Value,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        let what = format!("change {object} in namespace {}", self.namespace);
        let how = format!("--type={how}");
        let words = ["patch", object, &how, "--patch-file=/dev/stdin", MANAGER];
        self.run(&what, &words, Some(&patch.to_string()), watcher).map(drop)
    }

    /// Waits until a rollout has ended; `Ok(false)`: it has not within that time.
    ///
    /// # Errors
    /// In the cluster's own words.
    pub(crate) fn await_rollout(
        &self,
        workload: &str,
        within: Duration,
        watcher: &dyn Watcher,
    ) -> Result<bool, DriverError> {
        let begun = Instant::now();
        let timeout = format!("--timeout={}ms", within.as_millis());
        let words = ["rollout", "status", workload, &timeout];
        // The program ends by its own deadline; ours only keeps it from hanging.
        let ended = self.call(&words, None, within + ANSWER_WITHIN, watcher)?;
        if ended.is_success() {
            return Ok(true);
        }
        let said = ended.last_lines(1).to_lowercase();
        if begun.elapsed() >= within || said.contains("timed out") || said.contains("progress deadline") {
            return Ok(false);
        }
        Err(self.refused(&format!("wait for {workload} in namespace {}", self.namespace), &ended))
    }
}

/// Returns all of the output, or says that some of it is missing.
pub(crate) fn whole(what: &str, ended: &Ended) -> Result<String, DriverError> {
    ended.stdout.complete_text().map(str::to_owned).ok_or_else(|| {
        DriverError::new(Kind::Unavailable, format!("cannot {what}: the answer is too large, or no text"))
            .with_hint("ask for less of it: fewer kinds, or a shorter time")
    })
}

fn parsed(what: &str, text: &str) -> Result<Value, DriverError> {
    serde_json::from_str(text).map_err(|error| {
        DriverError::new(Kind::Unavailable, format!("cannot {what}: kubectl did not answer with JSON"))
            .with_source(error)
            .with_hint("is `kubectl` the program of Kubernetes? see `kubectl version --client`")
    })
}

/// Returns a text of an object by its path: `/metadata/name`; empty when it is not there.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// Returns a number of an object by its path; 0 when it is not there.
pub(crate) fn count(object: &Value, path: &str) -> u64 {
    object.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

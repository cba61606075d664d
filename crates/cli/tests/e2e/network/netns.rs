//! Two network namespaces with a line between them: a bare one, and one with name servers, TLS servers and a firewall.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use muster_testkit::{postgres::tls, wait_for};
use tempfile::TempDir;

static NUMBER: AtomicU32 = AtomicU32::new(0);

const CA: &str = "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n\
                  policy=any\nunique_subject=no\ncopy_extensions=copy\n[any]\ncommonName=supplied\n";

/// Namespaces, servers and files; all of it goes with the handle.
pub(super) struct Net {
    folder: TempDir,
    client: String,
    servers: String,
    children: Vec<Child>,
    /// The client's address.
    pub(super) own: String,
    /// A name server that answers, and everything else.
    pub(super) server: String,
    /// A name server that drops every question.
    pub(super) silent: String,
    /// An address without a name server.
    pub(super) closed: String,
}

impl Net {
    /// Makes it; nothing where this host has no rights or no tools for it.
    pub(super) fn new() -> Option<Self> {
        let is_able = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            let command = command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let id = std::process::id() * 8 + NUMBER.fetch_add(1, Ordering::Relaxed);
        let (client, servers) = (format!("muster-c{id}"), format!("muster-s{id}"));
        let has_tools = is_able("nft", &["--version"])
            && is_able("openssl", &["version"])
            && Path::new("/usr/sbin/dnsmasq").exists();
        if !has_tools || !is_able("ip", &["netns", "add", &client]) {
            return None;
        }
        let mut net = Self {
            folder: TempDir::new().unwrap(),
            client,
            servers,
            children: Vec::new(),
            own: "10.213.7.1".into(),
            server: "10.213.7.2".into(),
            silent: "10.213.7.3".into(),
            closed: "10.213.7.4".into(),
        };
        net.line();
        net.names();
        net.certificates();
        net.serve();
        Some(net)
    }

    pub(super) fn client(&self) -> String {
        format!("/run/netns/{}", self.client)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.client)
    }

    fn line(&self) {
        let (client, servers) = (&self.client, &self.servers);
        run(&format!("ip netns add {servers}"));
        run(&format!(
            "ip -n {client} link add eth0 mtu 1400 type veth peer name eth0 mtu 1400 netns {servers}"
        ));
        run(&format!("ip -n {client} address add {}/24 dev eth0", self.own));
        for address in [&self.server, &self.silent, &self.closed] {
            run(&format!("ip -n {servers} address add {address}/24 dev eth0"));
        }
        for name in [client, servers] {
            run(&format!("ip -n {name} link set eth0 up"));
            run(&format!("ip -n {name} link set lo up"));
        }
        // The kernel tells refusals only now and then, and many ask at once here.
        let unlimited = "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit";
        let status = Command::new("ip").args(["netns", "exec", servers, "sh", "-c", unlimited]).status();
        assert!(status.unwrap().success());
        let rules = |name: &str, hook: &str, rules: &str| {
            let text = format!(
                "table inet muster {{ chain {hook} {{ type filter hook {hook} priority 0; {rules}\n}}\n}}\n"
            );
            let path = self.folder().join(format!("{hook}.nft"));
            fs::write(&path, text).unwrap();
            run(&format!("ip netns exec {name} nft -f {}", path.display()));
        };
        rules(servers, "input", &format!("tcp dport 5432 drop; ip daddr {} udp dport 53 drop;", self.silent));
        rules(client, "output", "tcp dport 5433 drop;");
    }

    fn names(&mut self) {
        fs::create_dir_all(self.etc()).unwrap();
        let text = format!(
            "nameserver {}\nnameserver {}\nnameserver {}\nsearch muster.test\n",
            self.silent, self.closed, self.server
        );
        fs::write(self.etc().join("resolv.conf"), text).unwrap();
        fs::write(self.etc().join("hosts"), "127.0.0.1 localhost\n").unwrap();
        let server = self.server.clone();
        let words = format!(
            "/usr/sbin/dnsmasq --no-daemon --no-resolv --no-hosts --conf-file=/dev/null --user=root --bind-interfaces \
             --listen-address={server} --port=53 --local=/muster.test/ --auth-zone=muster.test \
             --auth-server=ns1.muster.test,{server} --host-record=ns1.muster.test,{server} \
             --host-record=api.muster.test,{server} --host-record=other.muster.test,{server}"
        );
        self.spawn(&words);
        self.wait(53);
    }

    fn certificates(&self) {
        let folder = self.folder();
        tls::authority(folder);
        fs::write(folder.join("ca.cnf"), CA).unwrap();
        fs::write(folder.join("index.txt"), "").unwrap();
        fs::write(folder.join("serial"), "10\n").unwrap();
        openssl(
            folder,
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=api.muster.test \
             -addext subjectAltName=DNS:api.muster.test -keyout own.key -out own.csr",
        );
        // The end of the first one is long past, that of the other one far ahead.
        for (name, end) in [("ended", "20250201000000Z"), ("good", "20450201000000Z")] {
            openssl(
                folder,
                &format!(
                    "ca -batch -config ca.cnf -cert ca.crt -keyfile ca.key -in own.csr -out {name}.crt \
                     -startdate 20250101000000Z -enddate {end} -notext"
                ),
            );
        }
    }

    fn serve(&mut self) {
        for (name, port) in [("good", 4443), ("ended", 4444)] {
            self.spawn(&format!("openssl s_server -quiet -www -cert {name}.crt -key own.key -accept {port}"));
            self.wait(port);
        }
    }

    fn spawn(&mut self, words: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.servers]).args(words.split_whitespace());
        let command = command.current_dir(self.folder.path()).stdin(Stdio::null());
        self.children.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// Waits until something listens on a port of the servers.
    fn wait(&mut self, port: u16) {
        let servers = self.servers.clone();
        let child = self.children.last_mut().unwrap();
        wait_for("a server in the namespace", Duration::from_mins(1), || {
            assert!(child.try_wait().unwrap().is_none(), "the server has ended");
            let mut told = Command::new("ip");
            told.args(["netns", "exec", &servers, "cat", "/proc/net/tcp", "/proc/net/tcp6"]);
            let text = String::from_utf8(told.output().unwrap().stdout).unwrap();
            // State 0A is `listen`; ports stand there in hexadecimal digits.
            let hex = format!(":{port:04X}");
            let is_there = text.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.get(1).is_some_and(|local| local.ends_with(&hex)) && words.get(3) == Some(&"0A")
            });
            is_there.then_some(())
        });
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().ok();
            child.wait().ok();
        }
        for name in [&self.client, &self.servers] {
            Command::new("ip").args(["netns", "delete", name]).status().ok();
        }
        fs::remove_dir_all(self.etc()).ok();
        // Only when nobody else has anything in it.
        fs::remove_dir("/etc/netns").ok();
    }
}

fn run(words: &str) {
    let mut words = words.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn openssl(folder: &Path, words: &str) {
    let output = Command::new("openssl").args(words.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
}

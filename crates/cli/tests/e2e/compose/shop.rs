//! A Compose platform on a real engine: PostgreSQL, Redis and a small HTTP service, out of programs of this host.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use muster_repo::{Location, Repo};
use muster_testkit::{Cli, Docker, Outcome, Sandbox, TinyDisk, docker::Image, wait_for};
use muster_types::Secret;
use serde_json::Value;

pub(super) const PATIENCE: Duration = Duration::from_mins(2);
pub(super) const PASSWORD: &str = "carts-are-nobodys-business";

const ENTRY: &str = "#!/bin/sh
set -e
if [ ! -s \"$PGDATA/PG_VERSION\" ]; then
  /usr/lib/postgresql/15/bin/initdb --no-sync -D \"$PGDATA\" --locale=C --encoding=UTF8 -A trust
  echo 'host all,replication all all trust' >> \"$PGDATA/pg_hba.conf\"
fi
exec /usr/lib/postgresql/15/bin/postgres -D \"$PGDATA\" -c listen_addresses='*' -c unix_socket_directories=/tmp -c jit=off
";

const COMPOSE: &str = "name: shop
services:
  db:
    image: local/postgres:15
    stop_signal: SIGINT
    environment: {PGDATA: /var/lib/postgresql/data/pgdata, TZ: UTC}
    volumes: [pgdata:/var/lib/postgresql/data]
    ports: ['5432:5432']
  redis:
    image: local/redis:7
    command: [redis-server, --requirepass, '${REDIS_PASSWORD}', --appendonly, 'yes', --repl-diskless-sync-delay, '0', --dir, /data]
    volumes: [cart:/data]
    ports: ['6379:6379']
  api:
    build: ./app
    image: shop/api:live
    restart: always
    environment: {API_WORKERS: '${API_WORKERS}', REDIS_PASSWORD: '${REDIS_PASSWORD}'}
    volumes: ['EXPORTS:/exports']
    ports: ['8080:8080']
    dns_opt: ['timeout:1', 'attempts:1']
volumes:
  pgdata: {}
  cart: {}
";

pub(super) struct Shop {
    pub(super) docker: Docker,
    pub(super) sandbox: Sandbox,
    pub(super) cli: Cli,
    pub(super) disk: TinyDisk,
}

impl Shop {
    /// Builds the images and starts everything, with 3 orders and a cart.
    pub(super) fn open() -> Self {
        // The engine sees only what was mounted before it began.
        let disk = TinyDisk::new(8 * 1024 * 1024);
        let docker = Docker::start();
        images(&docker);
        let sandbox = Sandbox::new();
        let folder = sandbox.path();
        fs::create_dir(folder.join("app")).unwrap();
        fs::write(folder.join("redis.password"), PASSWORD).unwrap();
        fs::set_permissions(folder.join("redis.password"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.join("compose.yml"), COMPOSE.replace("EXPORTS", &disk.path().display().to_string()))
            .unwrap();
        let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), folder);
        let cli = docker.env().into_iter().fold(cli, |cli, (name, value)| cli.env(name, value));
        let shop = Self { docker, sandbox, cli, disk };
        shop.workers("2");
        shop.release("1", "");
        shop.configure("1h");
        let key = fs::read_to_string(shop.sandbox.key()).unwrap();
        let location: Location = shop.sandbox.repository().to_str().unwrap().parse().unwrap();
        Repo::init(&location, &Secret::new(key.trim_end())).unwrap();
        shop.compose(&["up", "--detach", "--build"]);
        wait_for("the database", PATIENCE, || shop.try_sql("select 1"));
        shop.sql("create table orders (id int primary key, what text); insert into orders values (1, 'a'), (2, 'b'), (3, 'c')");
        shop.redis(&["SET", "cart", "full"]);
        wait_for("the service", PATIENCE, || (shop.api().ok()?["orders"] == 3).then_some(()));
        shop
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.sandbox.path().join(name).display().to_string()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.sandbox.path().join(name), text).unwrap();
    }

    /// Writes the environment that Compose fills in.
    pub(super) fn workers(&self, workers: &str) {
        self.write(".env", &format!("API_WORKERS={workers}\nREDIS_PASSWORD={PASSWORD}\n"));
    }

    /// Writes the source of a version of the service; `labels` are lines of its Dockerfile.
    pub(super) fn release(&self, version: &str, labels: &str) {
        self.write("app/app.py", include_str!("app.py"));
        self.write(
            "app/Dockerfile",
            &format!("FROM local/python:3\nENV APP_VERSION={version}\nCOPY app.py /app.py\n{labels}CMD [\"python3.11\", \"/app.py\"]\n"),
        );
    }

    /// Deploys what stands in the folder as an operator does, without Muster.
    pub(super) fn deploy(&self) {
        self.compose(&["up", "--detach", "--no-deps", "--build", "api"]);
    }

    pub(super) fn compose(&self, args: &[&str]) -> String {
        let file = self.path("compose.yml");
        self.docker.run(&[&["compose", "-f", &file], args].concat())
    }

    /// Writes `muster.yaml`; sandboxes older than `older_than` are removed by `clean`.
    pub(super) fn configure(&self, older_than: &str) {
        let (address, disk) = (self.docker.address(), self.disk.path().display());
        self.sandbox.write_config(&format!(
            "platform: shop
objectives: {{rto: 30m, rpo: 1d}}
repository:
  location: {repository}
  password: ${{file:{key}}}
components:
  database:
    kind: postgres
    url: postgres://postgres@{address}:5432/postgres
    data_dir: {data}/pgdata
    bin_dir: /usr/lib/postgresql/15/bin
  cache:
    kind: redis
    url: redis://{address}:6379/
    password: ${{file:{password}}}
services:
  db: {{compose: {{file: compose.yml, service: db}}, ready: db-up, uses: [database]}}
  redis: {{compose: {{file: compose.yml, service: redis}}, ready: redis-up}}
  api:
    compose: {{file: compose.yml, service: api}}
    uses: [database, cache]
    depends_on: [db, redis]
    ready: api-up
    ready_within: 1m
    sandboxes: {{label: shop.sandbox=true, older_than: {older_than}}}
checks:
  db-up: {{command: [psql, -XAtqc, select 1, \"postgres://postgres@{address}:5432/postgres\"]}}
  redis-up: {{tcp: \"{address}:6379\"}}
  api-up: {{http: \"http://{address}:8080/\", tags: [smoke]}}
  api-orders: {{http: \"http://{address}:8080/\", conditions: [\"[BODY].orders == 3\", \"[BODY].cart == full\"], tags: [smoke]}}
  api-steady: {{container: {{project: shop, service: api, window: 2s}}, tags: [smoke], timeout: 2s}}
  room: {{disk: {disk}}}
",
            repository = self.sandbox.repository().display(),
            key = self.sandbox.key().display(),
            data = self.docker.volume("shop_pgdata").display(),
            password = self.path("redis.password"),
        ));
    }

    pub(super) fn run(&self, args: &[&str]) -> Outcome {
        self.cli.run(args)
    }

    pub(super) fn well(&self, args: &[&str]) -> Outcome {
        let outcome = self.cli.run(args);
        assert!(
            outcome.code == Some(0),
            "{args:?}: {}\n{}\n{}",
            outcome.stdout,
            outcome.stderr,
            self.state()
        );
        outcome
    }

    /// Runs a runbook unattended and returns its report: it must end with its checks green and its times told.
    pub(super) fn recover(&self, name: &str, phases: &str) -> Value {
        let text = format!(
            "---\ntitle: {name}\nrto: 30m\n---\n{phases}\n## Verify\n\n```muster\nwait: {{checks: [api-up, api-orders, api-steady], for: 1m}}\n```\n"
        );
        let file = format!("{}.md", name.replace(' ', "-"));
        self.write(&file, &text);
        let report = self.well(&["run", &file, "--yes", "--json"]).json();
        assert_eq!(report["outcome"], "done", "{report:#}");
        assert!(report["elapsed_seconds"].as_f64().unwrap() > 0.0);
        let verdicts = report["objectives"].as_array().cloned().unwrap_or_default();
        assert!(verdicts.iter().any(|one| one["verdict"] == "met"), "the RTO was not judged: {report:#}");
        report
    }

    pub(super) fn api(&self) -> Result<Value, String> {
        let url = format!("http://{}:8080/", self.docker.address());
        let output = Command::new("curl").args(["-sS", "-m", "5", &url]).output().unwrap();
        serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub(super) fn sql(&self, query: &str) -> String {
        self.try_sql(query).unwrap_or_else(|| panic!("{query} failed"))
    }

    fn try_sql(&self, query: &str) -> Option<String> {
        let url = format!("postgres://postgres@{}:5432/postgres", self.docker.address());
        let output = Command::new("psql")
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", &url, "-c", query])
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    pub(super) fn redis(&self, command: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        client.args(["-h", self.docker.address()]).args(command).env("REDISCLI_AUTH", PASSWORD);
        String::from_utf8_lossy(&client.output().unwrap().stdout).trim().to_owned()
    }

    /// One field of the newest container of a service.
    pub(super) fn inspect(&self, service: &str, format: &str) -> String {
        let filter = format!("label=com.docker.compose.service={service}");
        let ids = self.docker.run(&["ps", "--all", "--quiet", "--filter", &filter]);
        self.docker.run(&["inspect", "--format", format, ids.lines().next().unwrap()])
    }

    fn state(&self) -> String {
        let all = self.docker.run(&["ps", "--all", "--format", "{{.Names}} {{.Status}} {{.Image}}"]);
        let file = self.path("compose.yml");
        let log = self.docker.try_run(&["compose", "-f", &file, "logs", "--tail", "20"]);
        format!("{all}\n{}", log.unwrap_or_else(|error| error))
    }
}

fn id(option: &str) -> u32 {
    let output = Command::new("id").args([option, "postgres"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

fn images(docker: &Docker) {
    let shell = |image: Image| image.program("/usr/bin/dash").link("dash", "/usr/bin/sh");
    shell(Image::new("local/redis:7"))
        .programs(&["redis-server", "redis-cli"])
        .empty_folder("/data", 0, 0)
        .build(docker);
    // Without it Python says on stderr that it lacks what nothing here needs.
    let mut python = shell(Image::new("local/python:3"))
        .programs(&["python3.11", "sleep"])
        .files("/usr/lib/python3.11", "py");
    for module in ["encodings", "collections", "importlib", "re", "email", "http", "json", "urllib", "html"] {
        python = python.folder(&format!("/usr/lib/python3.11/{module}"));
    }
    python.change("ENV PYTHONHOME=/usr").build(docker);
    let (user, group) = (id("-u"), id("-g"));
    let mut postgres = shell(Image::new("local/postgres:15")).program("/usr/bin/psql");
    for name in [
        "bin/postgres",
        "bin/initdb",
        "bin/psql",
        "lib/plpgsql.so",
        "lib/dict_snowball.so",
        "lib/libpqwalreceiver.so",
    ] {
        postgres = postgres.program(&format!("/usr/lib/postgresql/15/{name}"));
    }
    postgres
        .folder("/usr/share/postgresql/15")
        .folder("/usr/share/zoneinfo/Etc")
        .file("/etc/passwd", &format!("postgres:x:{user}:{group}::/tmp:/bin/sh\n"))
        .file("/entry", ENTRY)
        .empty_folder("/var/lib/postgresql/data", user, group)
        .change("USER postgres")
        .change("CMD [\"/entry\"]")
        .build(docker);
}

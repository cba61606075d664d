//! Commands that look alike: right ones that must not be called failing or losing data, and wrong ones in other words.

use muster_plan::lint::{Form, Severity, lint};

fn rules(text: &str) -> Vec<(String, Severity)> {
    let document = format!("# Runbook\n\n## Steps\n\n```bash\n{text}\n```\n");
    let found = lint("a.md", document.as_bytes(), Form::Markdown, None).expect("text");
    found.into_iter().map(|one| (one.rule.to_owned(), one.severity)).collect()
}

/// Each is right as it stands.
const RIGHT: &[&str] = &[
    "pg_restore --list /backups/a.dump | head -20",
    "pg_restore -l /backups/a.dump > toc.txt\nsystemctl stop postgresql\npg_restore -f - /backups/a.dump | wc -l",
    "systemctl stop postgresql\nrsync -a /var/lib/postgresql/ /mnt/copy/\nsystemctl start postgresql\npsql -d app -c 'select 1'",
    "ssh standby 'systemctl stop postgresql'\npsql -h primary -d app -c 'select 1'",
    "docker compose stop api\ndocker compose exec -T db pg_restore -U app -d app_restored /backups/a.dump",
    "pg_restore --clean --if-exists --exit-on-error -d app /backups/a.dump",
    "createdb -T template0 check1\npg_restore -d check1 -t orders /backups/a.dump",
    "pg_dump -Fc app | aws s3 cp - s3://b/app.dump.part",
    "pg_dump -Fd -j 4 -f /backups/.app.tmp app && mv /backups/.app.tmp /backups/app.dir",
    "if ! pg_dump app > /backups/app.sql; then rm -f /backups/app.sql; exit 1; fi",
    "pg_dump app > /backups/app.sql || { rm /backups/app.sql; exit 1; }",
    "pg_dump -s app > /dev/null",
    "tmp=$(mktemp)\npg_dump app > \"$tmp\"\nmv \"$tmp\" /backups/app.sql",
    "./server recover --replica=2 /data/2.db",
    "psql -X -v ON_ERROR_STOP=on -f fix.sql app",
    "psql -d app <<'SQL'\n\\set ON_ERROR_STOP on\nselect count(*) from orders;\nSQL",
    "ssh old-primary 'sudo systemctl stop postgresql'\npg_ctl promote -D /srv/pg",
    "iptables -I INPUT -s 10.0.0.7 -j DROP\npsql -c 'select pg_promote()'",
    "psql -h primary -Atc 'select pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) from pg_stat_replication'",
    "psql -c 'VACUUM FULL audit_old'",
    "psql -c \"select array_length(tags, 1) from posts\"",
    "pg_controldata /srv/pg",
    "pg_basebackup -D - -Ft -X fetch | gzip > /backups/.base.tmp && mv /backups/.base.tmp /backups/base.tgz",
    "dropdb --if-exists app_scratch\ncreatedb app_scratch\npg_restore -d app_scratch a.dump",
    "rm -rf -- \"${WORK:?}/cache\"",
    "WORK=/srv/work\nrm -rf \"$WORK/cache\"",
    "rm -rf /var/cache/app/*",
    "redis-cli SAVE && cp /var/lib/redis/dump.rdb /backups/.r.tmp",
    "redis-cli BGREWRITEAOF",
    "redis-cli -h a BGSAVE\nwhile [ \"$(redis-cli -h a LASTSAVE)\" = \"$t\" ]; do sleep 1; done\ncp /var/lib/redis/dump.rdb /backups/r.rdb",
    "etcdctl snapshot save /backups/etcd.db",
    "etcdctl endpoint health",
    "vault operator raft snapshot restore -force /backups/v.snap",
    "docker compose rm -sf cache && docker volume rm app_cache",
    "docker compose down\ndocker run --rm -v app_pg:/from -v /mnt/keep:/to alpine tar -czf /to/pg.tgz /from\ndocker volume rm app_pg",
    "docker compose down --remove-orphans",
    "docker volume create t1 && docker volume rm t1",
    "docker system prune -f",
    "docker ps -q --filter name=x | xargs -r docker stop",
    "docker rm -f $(docker ps -aq) || true",
    "docker rm -f sandbox-1 sandbox-2",
    "docker rmi old:1",
    "docker pull new:2\ndocker rmi old:1",
    "docker compose restart api",
    "sed -i s/a/b/ .env\ndocker compose up -d api\ndocker compose restart worker",
    "git checkout main\ngit pull\nls",
    "kubectl get nodes -o wide",
    "kubectl get ns,pv",
    "kubectl get pods -A --field-selector=status.phase=Pending",
    "kubectl --namespace=shop get pods",
    "kubectl get pods -nshop",
    "kubectl cluster-info",
    "kubectl apply -f k8s/",
    "kubectl config set-context --current --namespace=shop\nkubectl get pods",
    "kubectl drain node1 --ignore-daemonsets",
    "kubectl top nodes",
    "kubectl describe node node1",
    "kubectl auth can-i get pods --namespace shop",
    "kubectl logs -n shop deploy/api --since=1h",
    "kubectl logs -n shop -l app=api --tail=200",
    "kubectl scale deployment/api --replicas=5 -n shop",
    "n=$(kubectl get deploy api -n shop -o jsonpath='{.spec.replicas}')\nkubectl scale deploy/api --replicas=0 -n shop\nkubectl scale deploy/api --replicas=$n -n shop",
    "kubectl rollout restart deploy/api -n shop\nkubectl rollout status deploy/api -n shop\nkubectl wait --for=condition=ready pod -l app=api -n shop",
    "kubectl create secret generic k -n shop --from-file=k=./k --dry-run=client -o yaml | kubectl apply -n shop -f -",
    "kubectl delete secret old-keys -n shop",
    "trap 'kubectl delete -n shop networkpolicy deny' EXIT\nkubectl apply -n shop -f deny.yaml",
    "aws s3 cp /backups/app.dump s3://b/",
    "aws s3 cp /backups s3://b/ --recursive --exclude '*' --include '*.dump'",
    "gsutil cp gs://b/latest/app.dump ./restore/\nls ./restore/app.dump",
    "terraform apply -auto-approve rebuild.plan",
    "terraform apply",
    "terraform destroy -target=module.sandbox",
    "curl -fsSL https://example.com/install.sh -o install.sh",
    "until curl -sf http://localhost:8080/health; do sleep 1; done",
    "curl -s http://localhost:8080/health | jq -e '.db == \"ok\"'",
    "code=$(curl -s -o /dev/null -w '%{http_code}' http://localhost/health)",
    "find /backups -name '*.dump' -mtime +30 -delete",
    "find /backups -name '*.dump' -mtime -1 -size +1M | grep -q .",
    "ls -1t /backups/*.dump | tail -n +8 | xargs -r rm --",
    "gzip -t /backups/a.sql.gz && createdb scratch && zcat /backups/a.sql.gz | psql -v ON_ERROR_STOP=1 scratch",
    "grep -c 'CREATE TABLE' schema.txt",
    "tar -czf /backups/etc.tgz /etc/app",
    "cp /etc/postgresql/16/main/postgresql.conf /backups/",
    "for db in a b; do pg_dump -Fc -f \"/backups/.$db.tmp\" \"$db\" && mv \"/backups/.$db.tmp\" \"/backups/$db.dump\"; done",
    "exec 9>/run/lock/backup && flock -n 9 || exit 0",
    "pytest tests/unit -q",
    "(crontab -l; echo '0 2 * * * /opt/backup.sh') | crontab -",
    "cat <<'EOF' > /etc/cron.d/backup\n0 2 * * * root /opt/backup.sh\nEOF",
    "psql --set=ON_ERROR_STOP=1 app_new < a.sql",
    "systemctl stop app\npg_restore -d app_new a.dump",
    "pg_dump -s app > schema.sql",
    "git checkout main && docker compose build && docker compose up -d",
    "docker compose -p scratch down -v",
    "docker compose -f docker-compose.test.yml down -v",
    "docker compose stop db\ndocker run --rm -v app_pgdata:/d -v /b:/b alpine tar czf /b/pg.tgz /d",
    "docker exec -i db sh -c 'psql -v ON_ERROR_STOP=1 -U a a_new' < a.sql",
    "kubectl -n a scale sts pg --replicas=0\nkubectl -n a scale sts pg --replicas=\"$n\"\nkubectl -n a exec pg-0 -- psql -c 'select 1'",
    "psql -d app_scratch -c 'DROP SCHEMA public CASCADE'\npsql -v ON_ERROR_STOP=1 -d app_scratch -f a.sql",
    "find /var/lib/postgresql/wal_archive -name '*.gz' -mtime +7 -delete",
    "zfs destroy tank/pg@old",
];

/// Each breaks the rule beside it.
const WRONG: &[(&str, &str)] = &[
    ("sudo -u postgres pg_restore --recovery-target-time '2026-01-01' -d x a.dump", "pg-restore-target-time"),
    ("LATEST=/backups/app.sql.gz\npg_restore -d scratch \"$LATEST\"", "pg-restore-of-plain-sql"),
    ("docker stop pg\ndocker exec pg psql -U a -c 'select 1'", "pg-restore-into-stopped-server"),
    ("sudo service postgresql stop\nsudo -u postgres psql app < a.sql", "pg-restore-into-stopped-server"),
    ("kubectl exec -n a -i db-0 -- psql -U a a < dump.sql", "psql-without-on-error-stop"),
    ("ssh db \"psql app -f /tmp/a.sql\"", "psql-without-on-error-stop"),
    ("xz -dc a.sql.xz | sudo -u postgres psql app", "psql-without-on-error-stop"),
    ("sudo -u postgres pg_ctlcluster 16 main promote", "promote-without-fence"),
    ("psql -h standby -c 'SELECT pg_promote(true, 60)'", "promote-without-fence"),
    (
        "mysqldump --all-databases > /backups/all.sql\naws s3 cp /backups/all.sql s3://b/",
        "redirect-leaves-empty-backup",
    ),
    ("docker exec db pg_dump -U a a | gzip > /backups/a.sql.gz", "redirect-leaves-empty-backup"),
    ("kubectl exec -n a db-0 -- pg_dump -U a a > a.sql", "redirect-leaves-empty-backup"),
    (
        "set -e\nDIR=/tmp/dumps\nsave() {\n  local file=\"$DIR/app.sql.gz\"\n  docker exec db pg_dump -U a a | gzip > \"$file\"\n}\nsave",
        "redirect-leaves-empty-backup",
    ),
    ("docker compose exec -T db pg_dumpall -U a > /backups/all.sql", "redirect-leaves-empty-backup"),
    ("pg_dumpall | zstd > /b/x.zst", "dump-piped-without-pipefail"),
    ("F=$(ls /var/backups/db | sort | tail -1)", "listing-is-not-latest"),
    ("find /backups -name '*.dump' | sort | tail -1", "listing-is-not-latest"),
    ("zstd -t /backups/a.sql.zst", "gzip-test-is-not-proof"),
    ("valkey-cli BGSAVE && sleep 3 && cp /data/dump.rdb /b/", "bgsave-sleep-copy"),
    ("docker exec c redis-cli --pass x INFO", "password-in-argv"),
    ("psql postgresql://app:hunter2@db/app -c 'select 1'", "password-in-argv"),
    ("mysql -u root -phunter2 -e 'show tables'", "password-in-argv"),
    ("ETCDCTL_API=3 sudo -E etcdctl --endpoints=x snapshot restore a.db", "etcdctl-snapshot-restore"),
    ("vim docker-compose.yml\ndocker compose -p a restart", "compose-restart-ignores-env"),
    ("echo KEY=1 >> .env\ndocker compose restart api", "compose-restart-ignores-env"),
    ("git reset --hard v1\ndocker build -t api .", "rollback-by-rebuild"),
    ("docker stop $(docker ps -q)", "docker-rm-empty-substitution"),
    ("kill -9 $(pgrep -f worker)", "docker-rm-empty-substitution"),
    ("docker compose down -v", "volume-removed-before-backup-proven"),
    ("kubectl delete pvc data-db-0 -n a", "volume-removed-before-backup-proven"),
    ("docker system prune -af --volumes", "volume-removed-before-backup-proven"),
    ("sudo rm -rf /var/lib/postgresql/16/main", "volume-removed-before-backup-proven"),
    ("docker stop cache1\ndocker volume rm cachevol", "volume-in-use"),
    ("kubectl get pods,svc", "kubectl-without-namespace"),
    ("kubectl exec -it db-0 -- psql -U a", "kubectl-without-namespace"),
    ("while true; do kubectl delete pod x; done", "kubectl-without-namespace"),
    ("kubectl -n a logs --selector app=x --since 2h > x.log", "kubectl-logs-tail-ten"),
    (
        "kubectl -n a delete secret/k\nkubectl -n a create secret generic k --from-literal=a=b",
        "secret-deleted-and-recreated",
    ),
    ("aws s3 mv /backups/*.gz s3://b/", "aws-s3-cp-glob"),
    ("tofu apply --auto-approve", "terraform-auto-approve"),
    ("pulumi up --yes", "terraform-auto-approve"),
    ("curl -sk https://a/ready", "curl-insecure"),
    ("wget --no-check-certificate https://a/x", "curl-insecure"),
    ("timeout 5 curl http://a:1/readyz", "curl-without-fail"),
    ("kubectl exec -n a deploy/x -- printenv", "prints-secrets"),
    ("@daily /opt/backup.sh", "crontab-in-shell-fence"),
    ("rm -rf $DATA/old", "rm-of-unset-variable"),
    ("pg_resetwal -f /srv/pg", "pg-resetwal"),
    ("rm /srv/pg/backup_label", "pg-resetwal"),
    ("tar czf b.tgz /var/lib/mysql", "live-data-copied"),
    (
        "psql -c 'DROP DATABASE app'\ncreatedb app\npg_restore -d app a.dump",
        "database-dropped-before-restore",
    ),
    ("touch /srv/pg/recovery.conf", "recovery-conf"),
    ("bash -c 'docker-compose up -d'", "docker-compose-v1"),
    ("sudo -iu postgres pg_restore --target-time=now -d x a.dump", "pg-restore-target-time"),
    ("/etc/init.d/postgresql stop\npg_restore -d app a.dump", "pg-restore-into-stopped-server"),
    (
        "kubectl -n x scale statefulset/postgres --replicas=0\nkubectl -n x exec postgres-0 -- psql -c 'select 1'",
        "pg-restore-into-stopped-server",
    ),
    ("docker exec -i db bash -c 'psql -U a a' < a.sql", "psql-without-on-error-stop"),
    ("sudo sh -c 'psql app' < a.sql", "psql-without-on-error-stop"),
    ("docker volume ls -q | xargs docker volume rm", "volume-removed-before-backup-proven"),
    ("find /var/lib/postgresql/data -mindepth 1 -delete", "volume-removed-before-backup-proven"),
    ("zfs destroy -r tank/pgdata", "volume-removed-before-backup-proven"),
    ("repmgr standby promote", "promote-without-fence"),
    ("pg_dump app | tee /backups/app.sql", "redirect-leaves-empty-backup"),
    ("git checkout HEAD~1\ndocker buildx build -t api .", "rollback-by-rebuild"),
    ("git switch --detach v1\ndocker compose up --build -d", "rollback-by-rebuild"),
    (
        "kubectl -n a scale deploy api --replicas 0\nkubectl -n a scale deploy api --replicas 3",
        "replicas-constant",
    ),
    ("docker run --rm -v pgdata:/d -v /b:/b alpine tar czf /b/pg.tgz /d", "live-data-copied"),
    (
        "psql <<EOF\nDROP DATABASE IF EXISTS app;\nCREATE DATABASE app;\nEOF\npsql app < a.sql",
        "database-dropped-before-restore",
    ),
    (
        "docker exec db psql -U a -c 'DROP SCHEMA public CASCADE'\npsql app < a.sql",
        "database-dropped-before-restore",
    ),
    ("curl -H 'Authorization: Bearer abcdef' https://a/x", "password-in-argv"),
    ("vault operator unseal abcdef", "password-in-argv"),
    ("redis-cli -u redis://:pw@host:6379 ping", "password-in-argv"),
];

#[test]
fn right_commands_are_neither_called_failing_nor_losing_data() {
    let mut loud = Vec::new();
    for text in RIGHT {
        let grave = rules(text).into_iter().filter(|(_, severity)| *severity >= Severity::Fails);
        loud.extend(grave.map(|(rule, _)| format!("{rule}: {text}")));
    }
    assert!(loud.is_empty(), "{loud:#?}");
}

#[test]
fn wrong_commands_are_found_behind_wrappers_and_in_other_words() {
    let mut silent = Vec::new();
    for (text, rule) in WRONG {
        let found = rules(text);
        if !found.iter().any(|(one, _)| one == rule) {
            silent.push(format!("{rule}: {text} (found {found:?})"));
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

//! Commands as recovery documents have them, each with what it would do.

use super::*;
use Class::{Destructive, Idempotent, Observe, Unknown};

#[test]
fn commands_are_judged_by_what_they_do() {
    for (statement, class) in [
        ("docker ps | grep api", Observe),
        ("docker exec -it db psql -U x -c \"SELECT 1;\"", Observe),
        ("docker exec -i db psql -U x app <<EOF\nDELETE FROM t;\nEOF", Destructive),
        ("docker exec -i db psql -U x app <<EOF\nREINDEX TABLE t;\nEOF", Idempotent),
        ("gunzip -c a.sql.gz | \\\n  docker exec -i db psql -U x", Destructive),
        ("gunzip -t a.sql.gz", Observe),
        ("docker compose -f a/b.yml restart api", Idempotent),
        ("docker compose down", Idempotent),
        ("docker compose down -v", Destructive),
        ("docker-compose -f x.yml ps", Observe),
        ("docker volume rm data", Destructive),
        ("docker network prune -f", Destructive),
        ("docker rm -f $(docker ps -q --filter label=x)", Destructive),
        ("kubectl get pods -n x", Observe),
        ("kubectl -n x delete pod db-0", Destructive),
        ("kubectl rollout undo deployment api", Destructive),
        ("kubectl scale deployment/api --replicas=0 -n x", Idempotent),
        ("kubectl exec -it deploy/api -n x -- redis-cli FLUSHALL", Destructive),
        ("kubectl logs -l app=x > incident.txt", Idempotent),
        ("sudo iptables -L -n", Observe),
        ("sudo iptables -F", Destructive),
        ("systemctl restart redis", Idempotent),
        ("systemctl stop redis && rm -rf /var/lib/redis", Destructive),
        ("redis-cli -h h -a $P ping", Observe),
        ("redis-cli -h <replica> CLUSTER FAILOVER TAKEOVER", Destructive),
        ("redis-cli CONFIG SET maxmemory 1gb", Idempotent),
        ("cp /b/dump.rdb /var/lib/redis/dump.rdb", Destructive),
        ("aws s3 cp s3://b/x .", Idempotent),
        ("aws s3 ls s3://b/ | tail -1", Observe),
        ("aws ec2 terminate-instances --instance-ids i", Destructive),
        ("curl -f https://x/health", Observe),
        ("curl -X POST https://x/reset", Unknown),
        ("curl -X DELETE https://x/y", Destructive),
        ("terraform plan", Observe),
        ("terraform apply -auto-approve", Destructive),
        ("pg_restore -d app a.dump", Destructive),
        ("pg_restore --list a.dump", Observe),
        ("etcdctl snapshot restore a.db", Destructive),
        ("vault operator unseal", Idempotent),
        ("ssh db1 'rm -rf /tmp/x'", Destructive),
        ("bash -c \"dropdb app\"", Destructive),
        ("psql -f fix.sql", Destructive),
        ("psql $URL -c \"\n SELECT a,\n b FROM t\n\"", Observe),
        ("find /var/log -mtime +7 -delete", Destructive),
        ("./backup.sh restore a.dump --yes", Destructive),
        ("./backup.sh backup", Unknown),
        ("git clone https://x/y.git", Idempotent),
        ("git reset --hard", Destructive),
        ("frobnicate --all", Unknown),
        ("A=1 B=$(date) ./deploy.sh", Unknown),
        ("export A=1", Observe),
        ("docker ps -q | xargs -n 1 docker rm -f", Destructive),
        ("python3 repair.py", Unknown),
        ("source ./env.sh", Unknown),
        ("echo x | sudo tee /etc/y", Idempotent),
        ("rclone sync a: b:", Destructive),
        ("journalctl --vacuum-size=1G", Destructive),
        ("for c in a b; do docker rm $c; done", Destructive),
    ] {
        assert_eq!(judge(statement).class, class, "{statement}");
    }
}

#[test]
fn the_kind_says_whether_it_checks_waits_or_needs_a_person() {
    for (statement, kind) in [
        ("sleep 30", StepKind::Wait),
        ("kubectl rollout status deploy/x", StepKind::Wait),
        ("docker compose logs -f api", StepKind::Wait),
        ("nano .env", StepKind::Manual),
        ("docker exec db pg_isready", StepKind::Check),
        ("curl http://localhost/healthz", StepKind::Check),
        ("./smoke_test.sh --quick", StepKind::Check),
        ("docker compose restart db", StepKind::Command),
    ] {
        assert_eq!(judge(statement).kind, kind, "{statement}");
    }
    assert!(judge("kubectl get nodes -w").is_endless);
    assert!(!judge("kubectl get nodes").is_endless);
}

#[test]
fn hostile_statements_are_bounded() {
    for text in [
        "(".repeat(50_000),
        "bash -c ".repeat(5_000),
        "'".repeat(50_001),
        "a | ".repeat(20_000),
        "<".repeat(30_000),
    ] {
        judge(&text);
    }
}
